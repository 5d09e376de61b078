"""Sessions on tenants' objects: short credentials from a Security Token Service (AWS's, or alike).

What must stay true: a session is asked with a policy that narrows it to one bucket and prefix; the
secret parts leave here as a Secret alone, and no error carries one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from broker.errors import Unavailable
from broker.secret import Secret
from broker.settings import Sts
from broker.stores.session_policy import make_session_policy

_CONNECT_S, _READ_S = 5, 10


class SessionRefused(Unavailable):
    """The token service did not give a session; nothing is known of one."""

    type = "session-refused"


@dataclass(frozen=True, slots=True)
class Session:
    key_id: str
    secret: Secret[str]
    token: Secret[str]
    expires_at: datetime


class Sessions(Protocol):
    def start(self, name: str, bucket: str, prefix: str, seconds: int) -> Session:
        """A session named `name` that lists and reads below `prefix`. Raises SessionRefused."""


class StsSessions:
    """Implements `Sessions` with AssumeRole."""

    def __init__(self, settings: Sts, role: str) -> None:
        self._role = role
        self._client = _make_client(settings)

    def start(self, name: str, bucket: str, prefix: str, seconds: int) -> Session:
        from botocore.exceptions import BotoCoreError, ClientError

        partition = self._role.split(":")[1] if self._role.startswith("arn:") else "aws"
        try:
            answer = self._client.assume_role(
                RoleArn=self._role,
                RoleSessionName=name,
                Policy=make_session_policy(bucket, prefix, partition),
                DurationSeconds=seconds,
            )
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            raise SessionRefused(f"the token service refused a session: {code}") from None
        except BotoCoreError as error:
            raise SessionRefused(
                f"the token service can't be used: {type(error).__name__}"
            ) from None
        given = answer["Credentials"]
        return Session(
            key_id=given["AccessKeyId"],
            secret=Secret(given["SecretAccessKey"]),
            token=Secret(given["SessionToken"]),
            expires_at=given["Expiration"].astimezone(UTC),
        )


def _make_client(settings: Sts) -> Any:
    import boto3
    from botocore.config import Config

    key, secret = settings.access_key, settings.secret_key
    return boto3.client(
        "sts",
        endpoint_url=settings.endpoint,
        region_name=settings.region,
        aws_access_key_id=key.reveal() if key else None,
        aws_secret_access_key=secret.reveal() if secret else None,
        config=Config(
            connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": 2}
        ),
    )
