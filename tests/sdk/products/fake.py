"""What the fake servers have in common: tokens, failures on request, and a record."""

import json
import time
from typing import NamedTuple

import jwt


class Request(NamedTuple):
    method: str
    path: str
    headers: object
    body: bytes


class Fake:
    """Issues tokens, and answers as one vendor's server does.

    A vendor overrides `vendor_answer`, which returns a status, a body and header fields, and
    `rejection`.
    """

    # The lifetime of an access token in seconds.
    LIFETIME = 600

    def __init__(self):
        self.issued = 0
        self.live = set()
        self.bearers = set()
        self.mode = "good"
        self.detail = None
        self.seen = []

    def commands(self):
        return {
            "issue": self.issue,
            "revoke": self.live.clear,
            "mode": self.set_mode,
            "seen": self.take_seen,
        }

    def issue(self):
        """Issues the tokens of a new sign-in."""
        access = self.new_access_token()
        return {"access_token": access, "refresh_token": self.new_refresh_token()}

    def set_mode(self, mode, detail=None):
        """`good`; `limited` and `outage` fail every refresh; `detail` is for `rejection`."""
        self.mode, self.detail = mode, detail

    def take_seen(self):
        """Returns the statuses of the refreshes since the last call."""
        seen, self.seen = self.seen, []
        return seen

    def new_access_token(self):
        self.issued += 1
        claims = {"sub": "alice", "jti": str(self.issued), "exp": int(time.time()) + self.LIFETIME}
        token = jwt.encode(claims, "k" * 32, algorithm="HS256")
        self.bearers.add(f"Bearer {token}")
        return token

    def new_refresh_token(self):
        token = f"refresh-{self.issued}"
        self.live.add(token)
        return token

    def is_signed_in(self, request):
        return request.headers.get("authorization") in self.bearers

    def spend(self, token):
        """Whether a refresh token was valid. It is used up."""
        if token not in self.live:
            return False
        self.live.remove(token)
        return True

    def answer(self, request):
        is_refresh = request.path.endswith(("refresh", "refresh_token"))
        if is_refresh and self.mode == "limited":
            answer = (429, *self.failure(429), [("retry-after", "2")])
        elif is_refresh and self.mode == "outage":
            answer = (503, *self.failure(503))
        else:
            answer = self.vendor_answer(request)
        if is_refresh:
            self.seen.append(answer[0])
        return answer

    def failure(self, status):
        return (json.dumps({"detail": f"status {status}"}),)
