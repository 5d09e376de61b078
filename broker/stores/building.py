"""The store that the settings name, and the login through which looks list it."""

from __future__ import annotations

from broker.errors import SettingsError
from broker.secret import Secret
from broker.settings import Store as StoreSettings
from broker.stores import Store
from broker.stores.folder import FolderStore
from broker.stores.s3 import Bucket, BucketLogin, S3Store


def build_store(settings: StoreSettings) -> tuple[Store, Store | None]:
    """The store, and the same through another login if one is set. Raises SettingsError."""
    if settings.folder is not None and settings.bucket is not None:
        raise SettingsError(
            "the settings store.folder and store.bucket exclude each other; unset one of them"
        )
    if settings.bucket is not None:
        return build_bucket(settings, settings.bucket)
    if settings.folder is None:
        raise SettingsError(
            "the setting store.folder is missing; set BROKER_STORE__FOLDER or BROKER_STORE__BUCKET"
        )
    return FolderStore(settings.folder), None


def build_bucket(settings: StoreSettings, name: str) -> tuple[S3Store, S3Store | None]:
    bucket = Bucket(
        name=name,
        base=settings.base,
        endpoint=settings.endpoint,
        region=settings.region,
        encryption=settings.encryption,
        encryption_key=settings.encryption_key,
    )
    ours = _login(settings.access_key, settings.secret_key, "access_key", "secret_key")
    theirs = _login(settings.look_key, settings.look_secret, "look_key", "look_secret")
    return S3Store(bucket, ours), S3Store(bucket, theirs) if theirs else None


def _login(key: Secret[str] | None, secret: Secret[str] | None, *names: str) -> BucketLogin | None:
    if key is not None and secret is not None:
        return BucketLogin(key, secret)
    if key is None and secret is None:
        return None
    missing = names[0] if key is None else names[1]
    raise SettingsError(
        f"the setting store.{missing} is missing; set BROKER_STORE__{missing.upper()}"
    )
