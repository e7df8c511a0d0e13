"""What the verbs share that act on a desk: --data for that of one machine, --config for the database of the distributed runtime."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from offsite.cli.common import config_option, data_option, existing

if TYPE_CHECKING:
    from cases.store import Desk
    from offsite.settings import Settings


def desk_options(parser: argparse.ArgumentParser) -> None:
    """Add --data and --config."""
    data_option(parser)
    parser.set_defaults(data=None)
    config_option(parser, "settings in TOML: act on the desk's database that they name")


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings that say where the desk is. Raises SettingsFaults, or Refused if they name no data directory."""
    from offsite.settings import load_settings

    settings = load_settings(args.config, {"data": args.data})
    if not settings.desk_url:
        existing(settings.data)
    return settings


@contextmanager
def opened(args: argparse.Namespace) -> Iterator[Desk]:
    """Open the desk. Raises SettingsFaults or ConnectorError."""
    from cases.store import Desk
    from offsite.data_dir import now, open_desk

    settings = settings_of(args)
    if settings.desk_url:
        with Desk(settings.desk_database(), clock=now, migrate=False) as desk:
            yield desk
    else:
        with open_desk(settings.data) as desk:
            yield desk
