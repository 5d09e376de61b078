"""Making the folders of the embedded drivers: the keyring, and the store of copies."""

from __future__ import annotations

import click

from broker.errors import SettingsError


@click.group()
def keyring() -> None:
    """The keys: signing, sealing, and what opens registered logins."""


@keyring.command("create")
def create_keyring() -> None:
    """Make the keyring named by BROKER_KEYS__KEYRING. Keep it out of every backup."""
    from broker.keys.keyring import Keyring
    from broker.settings import load_settings

    folder = load_settings().keys.keyring
    if folder is None:
        raise SettingsError("the setting keys.keyring is missing; set BROKER_KEYS__KEYRING")
    Keyring.create_folder(folder)
    click.echo(f"{folder} holds new keys. Keep it out of every backup.")


@click.group()
def store() -> None:
    """Where sealed copies lie."""


@store.command("create")
def create_store() -> None:
    """Make the folder named by BROKER_STORE__FOLDER."""
    from broker.settings import load_settings
    from broker.stores.folder import FolderStore

    folder = load_settings().store.folder
    if folder is None:
        raise SettingsError("the setting store.folder is missing; set BROKER_STORE__FOLDER")
    FolderStore.create_folder(folder)
    click.echo(f"{folder} is a store.")


@store.command("lifecycle")
def print_lifecycle() -> None:
    """The rule by which the bucket ends copies by itself, as JSON for your cloud's own tools.

    For example: aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration file://…
    """
    import json

    from broker.settings import load_settings
    from broker.stores.lifecycle_rule import make_lifecycle

    settings = load_settings()
    rule = make_lifecycle(settings.store.base, settings.times.copy_max_s)
    click.echo(json.dumps(rule, indent=2))
