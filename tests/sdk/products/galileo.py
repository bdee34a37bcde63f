"""Galileo: `galileo-core`, whose configuration signs in and refreshes by itself."""

import json
import uuid
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from galileo_core.constants.request_method import RequestMethod
from galileo_core.constants.routes import Routes
from galileo_core.schemas.base_config import GalileoConfig
from galileo_core.schemas.core.user import User

from products import fake

# The open configurations, as the process of an app has them.
OPEN = {}


def told(config):
    refresh = config.refresh_token
    return {
        "access_token": config.jwt_token.get_secret_value(),
        "refresh_token": refresh and refresh.get_secret_value(),
    }


def open_config(name, base, **settings):
    """Opens a configuration: by a refresh token, or by a user name and a password.

    The SDK refreshes or signs in, and asks for the current user.
    """
    home = Path.home() / name
    OPEN[name] = GalileoConfig(console_url=base, api_url=base, home_dir=home, **settings)
    return told(OPEN[name])


def current_user(name):
    """Asks for the current user by the client, which refreshes within five minutes of the expiry."""
    answer = OPEN[name].api_client.request(RequestMethod.GET, Routes.current_user)
    return {"email": User.model_validate(answer).email, **told(OPEN[name])}


def held(name):
    return told(OPEN[name])


COMMANDS = {"open": open_config, "current_user": current_user, "held": held}


class Fake(fake.Fake):
    """Rotates the cookie. Has the same endpoints at the root and under `/v1`."""

    # The SDK refreshes within five minutes of the expiry.
    LIFETIME = 60

    def vendor_answer(self, request):
        path = request.path.removeprefix("/v1")
        match (request.method, path):
            case ("GET", "/healthcheck"):
                return 200, json.dumps({"message": "ok"})
            case ("GET", "/current_user"):
                if not self.is_signed_in(request):
                    return 401, json.dumps({"detail": "Invalid credentials"})
                user = User(id=uuid.uuid4(), email="alice@example.com")
                return 200, user.model_dump_json()
            case ("POST", "/login"):
                form = parse_qs(request.body.decode())
                if form.get("password") != ["s3cret"] or form.get("auth_method") != ["email"]:
                    return 401, json.dumps({"detail": "Incorrect username or password"})
                return self.tokens()
            case ("POST", "/refresh_token"):
                cookie = SimpleCookie(request.headers.get("cookie", "")).get("refresh_token")
                if cookie is None:
                    # HTTPValidationError of the vendor's OpenAPI document.
                    field = {"loc": ["cookie", "refresh_token"], "msg": "Field required", "type": "missing"}
                    return 422, json.dumps({"detail": [field]})
                if not self.spend(cookie.value):
                    return 401, json.dumps({"detail": "Invalid refresh token"})
                return self.tokens()
        return 404, json.dumps({"detail": "Not Found"})

    def tokens(self):
        body = {"access_token": self.new_access_token(), "token_type": "bearer"}
        cookie = f"refresh_token={self.new_refresh_token()}; HttpOnly; Path=/; SameSite=lax"
        return 200, json.dumps(body), [("set-cookie", cookie)]
