"""Freddy: `aitronos-sdk`, and `aitronos-cli`, whose `AuthManager` refreshes by itself."""

import json

import pydantic
from aitronos import Aitronos
from aitronos.types import RefreshTokenResponse
from aitronos_cli.auth import auth_manager

from products import fake


def sdk(base, token=None):
    return Aitronos(base_url=base, api_key="key-1", token=token)


def sdk_refresh(base, refresh_token):
    # Without retries, because the SDK waits for seconds before each.
    once = {"max_retries": 0}
    client = sdk(base).authentication
    answer = client.refresh_token(refresh_token=refresh_token, request_options=once)
    return json.loads(answer.json())


def sdk_profile(base, token):
    """Asks for the user's profile by an access token. Returns the address in it."""
    return sdk(base, token).user_management.get_current_user_profile().email


def cli_save(base, access_token, refresh_token):
    """Stores what a sign-in of the command line stores."""
    auth_manager.config.set("api_url", base)
    tokens = {"access_token": access_token, "refresh_token": refresh_token}
    auth_manager.config.save_auth(tokens)


def cli_access_token():
    """Returns the access token, refreshed if it expires within five minutes, and the stored ones."""
    token = auth_manager.get_access_token()
    return {"access_token": token, "stored": auth_manager.config.load_auth()}


COMMANDS = {
    "sdk_refresh": sdk_refresh,
    "sdk_profile": sdk_profile,
    "cli_save": cli_save,
    "cli_access_token": cli_access_token,
}


class RefreshRequest(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    refresh_token: str


class Fake(fake.Fake):
    """Rotates, and answers by the SDK's own model. Refuses unknown members of a request."""

    # The command line refreshes within five minutes of the expiry.
    LIFETIME = 60

    def vendor_answer(self, request):
        if (request.method, request.path) != ("POST", "/v1/auth/refresh"):
            return 404, self.envelope(404, "RESOURCE_NOT_FOUND")
        if request.headers.get_content_type() != "application/json":
            return 422, self.envelope(422, "VALIDATION_ERROR")
        try:
            asked = RefreshRequest.model_validate_json(request.body)
        except pydantic.ValidationError:
            return 422, self.envelope(422, "VALIDATION_ERROR")
        if not self.spend(asked.refresh_token):
            return 401, self.envelope(401, "INVALID_TOKEN")
        answer = RefreshTokenResponse(
            access_token=self.new_access_token(),
            refresh_token=self.new_refresh_token(),
            token_type="bearer",
            device_id="device-1",
            expires_in=self.LIFETIME,
            user={"email": "alice@example.com"},
        )
        return 200, answer.json()

    def failure(self, status):
        return (self.envelope(status, "SERVICE_UNAVAILABLE"),)

    @staticmethod
    def envelope(status, code):
        error = {
            "code": code,
            "message": "Please try again.",
            "system_message": code.lower(),
            "type": "client_error" if status < 500 else "server_error",
            "status": status,
            "details": {},
        }
        return json.dumps({"success": False, "error": error})
