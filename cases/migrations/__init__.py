"""The history of the desk's tables, run by `cases.migrate.upgrade`."""
