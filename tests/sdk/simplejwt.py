"""A Django service with djangorestframework-simplejwt, on loopback. Prints its address.

Usage: python simplejwt.py SECONDS, the lifetime of access tokens. Refresh tokens rotate, and used
ones are blacklisted.

`POST /control/user {"name"}` makes a user whose password is the name. `GET /control/counts` returns
how many requests for new tokens came, by their heads, and what became of them: `heads`, `answered`
by status, and `ages` of the refresh tokens in seconds.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from socketserver import ThreadingMixIn
from threading import Lock
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
import jwt
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path

REFRESH = "/api/token/refresh/"

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(Path.home() / "service.db"),
            "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
        }
    },
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ],
    MIDDLEWARE=[f"{__name__}.Count"],
    # Sign-ins are not what is measured.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="cXdGbFN0aGVrZXlvZnRlc3RzYWxvbmUhZXZlcmZyZXNo",
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(seconds=int(sys.argv[1])),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
    },
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView  # noqa: E402

lock = Lock()
counts = {"heads": 0, "answered": {}, "ages": {}}


def add(kind, key):
    with lock:
        counts[kind][key] = counts[kind].get(key, 0) + 1


class Count:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if request.path == REFRESH:
            add("answered", str(response.status_code))
            token = json.loads(request.body)["refresh"]
            claims = jwt.decode(token, options={"verify_signature": False})
            add("ages", str(int(time.time()) - claims["iat"]))
        return response


def user(request):
    name = json.loads(request.body)["name"]
    User.objects.create_user(name, password=name)
    return JsonResponse({})


def told(_):
    return JsonResponse(counts)


urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path(REFRESH[1:], TokenRefreshView.as_view()),
    path("control/user", user),
    path("control/counts", told),
]


class Handler(WSGIRequestHandler):
    def get_environ(self):
        if self.path == REFRESH:
            with lock:
                counts["heads"] += 1
        return super().get_environ()

    def log_message(self, *_):
        pass


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


call_command("migrate", verbosity=0)
server = Server(("127.0.0.1", 0), Handler)
server.set_app(get_wsgi_application())
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
