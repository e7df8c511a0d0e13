"""History opened for one job: a data directory's, or the archive that the settings name.

Enters: `--data` or `--config`; leaves: something that answers `series`, `rows`, `table` and `frames`. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from offsite.settings import Settings
    from streams.archive import Archive
    from streams.history import History


@contextmanager
def open_history(data: Path, config: Path | None) -> Iterator[tuple[History | Archive, str]]:
    """Give the history and where it is: the archive of `config` if that is given, else that of the data directory."""
    if config is not None:
        from offsite.settings import load_settings

        settings = load_settings(config, {})
        yield open_archive(settings), settings.archive
        return
    from offsite.cli.common import existing
    from offsite.data_dir import open_state
    from streams.history import History

    with open_state(existing(data)) as store:
        yield History(data, store), str(data)


def open_archive(settings: Settings) -> Archive:
    """Open the archive to read it. Raises SettingsFaults or Lost."""
    from streams.archive import Archive

    return Archive(settings.archive, settings.archive_storage())


def open_for_writing(settings: Settings) -> Archive:
    """Open the archive to write what comes on the topic `history` of the cluster. Raises SettingsFaults, Retry or Lost."""
    from connectors.kafka_topics import describe
    from streams.archive import Archive
    from streams.topics import HISTORY

    known = describe(settings.cluster(), [HISTORY])[HISTORY]
    return Archive(settings.archive, settings.archive_storage(), topic_id=known.id, partitions=known.partitions)
