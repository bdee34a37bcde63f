"""Vijil: `vijil-sdk`, and `vijil-console`, the command line. Both refresh by themselves."""

import json
import time
from pathlib import Path

from vijil import Vijil
from vijil.credentials import FileCredentialStore
from vijil_cli import config as console_config
from vijil_cli.client import VijilClient

from products import fake


def sdk_open(name, base, token, expires_in=None):
    """Stores what a sign-in of the command line stores for the SDK.

    Without `expires_in` the SDK reads the expiry from the token.
    """
    expires_at = None if expires_in is None else int(time.time()) + expires_in
    credentials(name).save_session(token=token, url=base, expires_at=expires_at)
    CLIENTS[name] = Vijil(gateway=base, config_dir=Path.home() / name)


def sdk_agents(name):
    """Lists the agents. Returns how many there are, and the token that the SDK has stored."""
    agents = CLIENTS[name].agents.list()
    return {"agents": len(agents.items), "stored": credentials(name).get_token_from_disk()}


def sdk_stored(name):
    return credentials(name).get_token_from_disk()


def credentials(name):
    return FileCredentialStore(config_dir=Path.home() / name)


CLIENTS = {}


def console_get(base, path, token=None):
    """Sends a request by the command line's client, after a sign-in if there is a token."""
    if token is not None:
        console_config.save_config({"console_url": base, "auth_token": token})
    answer = VijilClient().get(path).json()
    return {"answer": answer, "stored": console_config.load_config()["auth_token"]}


def console_stored():
    return console_config.load_config()["auth_token"]


COMMANDS = {
    "sdk_open": sdk_open,
    "sdk_agents": sdk_agents,
    "sdk_stored": sdk_stored,
    "console_get": console_get,
    "console_stored": console_stored,
}


class Fake(fake.Fake):
    """Renews every token that it has issued, until they are revoked."""

    def new_access_token(self):
        token = super().new_access_token()
        self.live.add(token)
        return token

    def vendor_answer(self, request):
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self.live:
            return 401, json.dumps({"detail": self.detail or "Unauthorized"})
        match (request.method, request.path):
            case ("POST", "/v1/auth/jwt/refresh"):
                token = self.new_access_token()
                body = {"access_token": token, "token_type": "bearer"}
                cookie = f"access_token={token}; HttpOnly; Path=/; SameSite=lax"
                return 200, json.dumps(body), [("set-cookie", cookie)]
            case ("GET", "/v1/agent-configurations/"):
                return 200, "[]"
        return 404, json.dumps({"detail": "Not Found"})
