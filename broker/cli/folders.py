"""Making the folders of the embedded drivers: the keyring, and the store of copies."""

from __future__ import annotations

from pathlib import Path

import click

from broker.errors import SettingsError


@click.group()
def keyring() -> None:
    """The keys: signing, sealing, and what opens registered logins."""


@keyring.command("create")
def create_keyring() -> None:
    """Make the keyring named by BROKER_KEYS__KEYRING. Keep it out of every backup."""
    from broker.keys.keyring import Keyring

    folder = _keyring_folder()
    Keyring.create_folder(folder)
    click.echo(f"{folder} holds new keys. Keep it out of every backup.")


@keyring.command("introduce")
def introduce_key() -> None:
    """Make the key that will sign logs next; until the turn, checkpoints carry both signatures."""
    from broker.keys import LOG_KEY
    from broker.keys.keyring import Keyring

    Keyring(_keyring_folder()).introduce(LOG_KEY)
    click.echo("Introduced. Restart the workers, tell the fingerprints, then: broker keyring turn")


@keyring.command("turn")
@click.option("--compromised", is_flag=True, help="The old key is to count no more.")
def turn_key(*, compromised: bool) -> None:
    """Sign logs with the key that was introduced; the old one stays good for what it signed."""
    from broker.keys import LOG_KEY
    from broker.keys.keyring import Keyring

    Keyring(_keyring_folder()).turn(LOG_KEY, compromised=compromised)
    click.echo("Turned. Restart the workers, so that the keys are published.")


@keyring.command("ml-dsa")
def make_ml_dsa_key() -> None:
    """Make the key that cosigns the root log with ML-DSA-44 where BROKER_LOG__ML_DSA is set."""
    from broker.keys.ml_dsa import MlDsaKey

    MlDsaKey.create(_keyring_folder())
    click.echo("Made. Set BROKER_LOG__ML_DSA=true and restart the workers and the scheduler.")


def _keyring_folder() -> Path:
    from broker.settings import load_settings

    folder = load_settings().keys.keyring
    if folder is None:
        raise SettingsError("the setting keys.keyring is missing; set BROKER_KEYS__KEYRING")
    return folder


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
