"""A store in a bucket of S3, or of a service that speaks as it does.

What must stay true: no object is ever overwritten; an object has a name only when all of it
arrived, each part checked by its SHA-256; a listing shows every version, deletion marker and
unfinished upload, and raises when it may be incomplete; what can't be read is StoreUnavailable,
never "nothing there"; a read is of one version from its first byte to its last.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ . Parts are 8 MiB, and more for large
objects: there are 10,000 at most. An error names the object and the service's own code, and no
secret.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlencode

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from urllib3.exceptions import HTTPError

from broker.errors import Conflict, Invalid, NotFound
from broker.secret import Secret
from broker.stores import StoredObject, StoreUnavailable
from broker.stores.lifecycle_rule import ENDS_BY_RULE
from broker.stores.s3_streams import PartWriter, RangeReader

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAME = re.compile(r"\A[a-z0-9_-][a-z0-9._-]*(?:/[a-z0-9_-][a-z0-9._-]*)*\Z")
_CONNECT_S, _READ_S, _TRIES = 5, 30, 3
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}
_NO_LOCK = {"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}
_GONE = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where the objects are: in `name`, under `base`, which is empty or ends in `/`.

    `encryption` is asked of the service for each object: `AES256`, `aws:kms`, or nothing.
    """

    name: str
    base: str = ""
    endpoint: str | None = None
    region: str = "eu-west-1"
    encryption: str | None = None
    encryption_key: str | None = None


@dataclass(frozen=True, slots=True)
class BucketLogin:
    key: Secret[str]
    secret: Secret[str]


class S3Store:
    """Implements `broker.stores.Store`; see there what each call means."""

    def __init__(self, bucket: Bucket, login: BucketLogin | None = None) -> None:
        """Without a login, what the machine itself may (its instance's role)."""
        self._bucket = bucket
        self._client = _make_client(bucket, login)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        key = self._key(name)
        if any(not stored.unfinished for stored in self._list_exactly(name)):
            raise Conflict(f"the store holds {name!r} already")
        made_with = {**self._encrypted(), "Tagging": urlencode([ENDS_BY_RULE])}
        upload = _Upload(self._client, self._target(key), made_with, name)
        writer = PartWriter(upload.send_part)
        try:
            yield cast("BinaryIO", writer)
            version = upload.finish(writer.rest())
        except BaseException:
            upload.abandon()
            raise
        finally:
            writer.close()
        self._check_alone(StoredObject(name, 0, version))

    def _check_alone(self, made: StoredObject) -> None:
        """For services that know no condition on a write: of two writers, both take theirs back."""
        others = [one for one in self._list_exactly(made.name) if not one.unfinished]
        if len(others) > 1 and made.version is not None:
            self.delete(made)
            raise Conflict(f"the store holds {made.name!r} already")

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        key = self._key(name)
        answer = self._get(key, name, {})
        pinned = {"IfMatch": answer["ETag"]}
        if answer.get("VersionId"):
            pinned["VersionId"] = answer["VersionId"]

        def read_from(start: int) -> Any:
            return self._get(key, name, {**pinned, "Range": f"bytes={start}-"})["Body"]

        def failing() -> contextlib.AbstractContextManager[None]:
            return _answering(f"the object {name!r}")

        with RangeReader(answer["Body"], answer["ContentLength"], read_from, failing) as reader:
            yield cast("BinaryIO", reader)

    def _get(self, key: str, name: str, more: Mapping[str, str]) -> Any:
        try:
            with _answering(f"the object {name!r}"):
                return self._client.get_object(**self._target(key), **more)
        except _Refused as error:
            if error.code == "NoSuchKey":
                raise NotFound(f"the store holds no {name!r}") from None
            raise

    def list_all(self, prefix: str) -> Iterator[StoredObject]:
        """`prefix` is empty or ends in `/`. Deletion markers are listed as objects of 0 bytes."""
        if prefix and not prefix.endswith("/"):
            raise Invalid(f"the prefix {prefix!r} does not end in '/'")
        _check_inside(prefix)
        return iter(self._list(prefix))

    def _list(self, prefix: str) -> list[StoredObject]:
        where = {"Bucket": self._bucket.name, "Prefix": self._bucket.base + prefix}
        with _answering(f"the store {self._bucket.name}"):
            found = [
                StoredObject(self._name(one["Key"]), one.get("Size", 0), one.get("VersionId"))
                for page in _pages(self._client.list_object_versions, where, _VERSIONS)
                for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
            ]
            found += [
                StoredObject(self._name(one["Key"]), 0, one["UploadId"], unfinished=True)
                for page in _pages(self._client.list_multipart_uploads, where, _UPLOADS)
                for one in page.get("Uploads", ())
            ]
        return sorted(found, key=lambda one: (one.name, one.version or ""))

    def _list_exactly(self, name: str) -> list[StoredObject]:
        return [one for one in self._list(name) if one.name == name]

    def delete(self, stored: StoredObject) -> None:
        """Exactly that version, marker or upload. Raises StoreUnavailable also for a locked one."""
        _check_inside(stored.name)
        if not stored.name:
            raise Invalid("an object has a name")
        target = self._target(self._bucket.base + stored.name)
        with _answering(f"the object {stored.name!r}"), contextlib.suppress(_Gone):
            if stored.unfinished:
                self._client.abort_multipart_upload(**target, UploadId=stored.version)
            elif stored.version is not None:
                self._client.delete_object(**target, VersionId=stored.version)
            else:
                self._client.delete_object(**target)

    def spare(self, stored: StoredObject) -> None:
        """Take the mark away by which the bucket's own rule ends it; idempotent."""
        target = self._target(self._bucket.base + stored.name)
        with _answering(f"the object {stored.name!r}"):
            self._client.delete_object_tagging(**target, **_version_of(stored))

    def read_clock(self) -> datetime:
        """What the service says the time is (RFC 9110, section 6.6.1). Raises StoreUnavailable."""
        with _answering(f"the store {self._bucket.name}"):
            answer = self._client.head_bucket(Bucket=self._bucket.name)
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])

    def find_lifecycle(self) -> list[dict[str, Any]]:
        """The rules by which the bucket ends objects by itself."""
        try:
            with _answering(f"the store {self._bucket.name}"):
                answer = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket.name)
        except _Refused as error:
            if error.code == "NoSuchLifecycleConfiguration":
                return []
            raise
        return list(answer.get("Rules", ()))

    def find_lock(self) -> bool:
        """Whether new objects are held by a default retention of the bucket (Object Lock)."""
        try:
            with _answering(f"the store {self._bucket.name}"):
                answer = self._client.get_object_lock_configuration(Bucket=self._bucket.name)
        except _Refused as error:
            if error.code in {
                "ObjectLockConfigurationNotFoundError",
                "NoSuchObjectLockConfiguration",
            }:
                return False
            raise
        return "Rule" in answer.get("ObjectLockConfiguration", {})

    def _key(self, name: str) -> str:
        if not _NAME.match(name):
            raise Invalid(f"{name!r} can't be the name of an object")
        return self._bucket.base + name

    def _name(self, key: str) -> str:
        return key.removeprefix(self._bucket.base)

    def _target(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket.name, "Key": key}

    def _encrypted(self) -> dict[str, str]:
        if self._bucket.encryption is None:
            return {}
        key = self._bucket.encryption_key
        asked = {"ServerSideEncryption": self._bucket.encryption}
        return asked | ({"SSEKMSKeyId": key} if key else {})


def _version_of(stored: StoredObject) -> dict[str, str]:
    return {} if stored.version is None else {"VersionId": stored.version}


class _Upload:
    """One object on its way: a single request while it fits in a part, parts beyond."""

    def __init__(
        self, client: Any, target: Mapping[str, str], made_with: Mapping[str, str], name: str
    ) -> None:
        self._client, self._target, self._made_with = client, dict(target), dict(made_with)
        self._name = name
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    def send_part(self, content: ReadableBuffer) -> None:
        body = bytes(content)
        with _answering(f"the object {self._name!r}"):
            if self._id is None:
                self._id = self._client.create_multipart_upload(
                    **self._target, **self._made_with, ChecksumAlgorithm="SHA256"
                )["UploadId"]
            number, checksum = len(self._parts) + 1, _checksum(body)
            answer = self._client.upload_part(
                **self._target,
                UploadId=self._id,
                PartNumber=number,
                Body=body,
                ChecksumSHA256=checksum,
            )
        part = {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}
        self._parts.append(part)

    def finish(self, rest: bytes) -> str | None:
        """Give the object its name, unless that is taken; returns its version."""
        if self._id is not None and rest:
            self.send_part(rest)
        try:
            with _answering(f"the object {self._name!r}"):
                answer = self._put(rest) if self._id is None else self._complete()
        except _Refused as error:
            if error.code in _TAKEN:
                raise Conflict(f"the store holds {self._name!r} already") from None
            raise
        self._id = None
        version: str | None = answer.get("VersionId")
        return version

    def _put(self, content: bytes) -> Any:
        return self._client.put_object(
            **self._target,
            **self._made_with,
            Body=content,
            ChecksumSHA256=_checksum(content),
            IfNoneMatch="*",
        )

    def _complete(self) -> Any:
        return self._client.complete_multipart_upload(
            **self._target,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
            IfNoneMatch="*",
        )

    def abandon(self) -> None:
        """Try to leave nothing; what is left is listed as unfinished."""
        if self._id is not None:
            with contextlib.suppress(StoreUnavailable), _answering(self._name):
                self._client.abort_multipart_upload(**self._target, UploadId=self._id)


class _Refused(StoreUnavailable):
    """The service answered, with an error."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _Gone(_Refused):
    """What was named is not there."""


@contextlib.contextmanager
def _answering(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        family = _Gone if code in _GONE else _Refused
        raise family(f"{what} can't be used: the service answered {code}", code) from None
    except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
        raise StoreUnavailable(f"{what} can't be used: {type(error).__name__}") from None


_VERSIONS = {"NextKeyMarker": "KeyMarker", "NextVersionIdMarker": "VersionIdMarker"}
_UPLOADS = {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"}


def _pages(
    call: Any, where: Mapping[str, str], markers: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Page by page. Raises StoreUnavailable when the service says "more" and not where."""
    at: dict[str, str] = {}
    while True:
        page = call(**where, **at)
        yield page
        if not page.get("IsTruncated"):
            return
        following = {ours: page[theirs] for theirs, ours in markers.items() if page.get(theirs)}
        if not following or following == at:
            raise StoreUnavailable("the store cut its listing short and did not say where")
        at = following


def _check_inside(name: str) -> None:
    if "\0" in name or any(segment in {".", ".."} for segment in name.split("/")):
        raise Invalid(f"{name!r} leads out of the store")


def _checksum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _make_client(bucket: Bucket, login: BucketLogin | None) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=bucket.endpoint,
        region_name=bucket.region,
        aws_access_key_id=login.key.reveal() if login else None,
        aws_secret_access_key=login.secret.reveal() if login else None,
        config=Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": _TRIES, "mode": "standard"},
            s3={"addressing_style": "path" if bucket.endpoint else "auto"},
        ),
    )
