"""Alembic's settings for the revisions of this package, which lie in the checkout or in what the wheel brings."""

import logging
from contextlib import suppress
from logging.config import fileConfig
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app.errors import SetupError, printable

PACKAGE = Path(__file__).resolve().parents[1]
OF_THE_WHEEL = "app:alembic"  # what script_location is called where there is no checkout
OF_THE_CHECKOUT = PACKAGE.parent / "alembic.ini"
FIRST = "006"  # the revision by which the directory is known as ours


def configuration(file: Path | None = None, section: str = "alembic") -> Config:
    """The settings that the alembic command goes by.

    Args:
        file: as `alembic --config` takes it; without one the checkout's alembic.ini, or the wheel's revisions.
        section: as `alembic --name` takes it.

    Raises:
        SetupError: there is no such file or section, or it leads to other revisions than ours.
    """
    if file is None and not (PACKAGE / "alembic").is_dir():
        file = OF_THE_CHECKOUT
    if file is None:
        config = Config()
        config.set_main_option("script_location", OF_THE_WHEEL)
        return config
    if not file.is_file():
        raise SetupError(f"There is no {file}: give Alembic's settings with --config.")
    config = Config(str(file), ini_section=section)
    if not config.file_config.has_section(section):
        raise SetupError(f"{file} has no section [{section}]: name one with --name.")
    return config


def revisions(config: Config) -> ScriptDirectory:
    """The revisions that the settings lead to.

    Raises:
        SetupError: they are not ours.
    """
    with suppress(CommandError, ImportError):  # no script_location, or one that is not there
        script = ScriptDirectory.from_config(config)
        if FIRST in {each.revision for each in script.walk_revisions()}:
            return script
    raise SetupError(
        f"script_location of [{config.config_ini_section}] in {config.config_file_name} leads to no revisions of this"
        f" package: set it to {OF_THE_WHEEL}, or name another section with --name."
    )


def set_up_logging(config: Config) -> None:
    """Log as the settings say, or else lines for a person on stderr."""
    if config.config_file_name is not None and config.file_config.has_section("loggers"):
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    else:
        console = logging.StreamHandler()
        console.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
        logging.getLogger().handlers = [console]
        logging.getLogger("alembic").setLevel(logging.INFO)
        logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(escape)


def escape(record: logging.LogRecord) -> bool:
    """Have a message printed as one line of text, as a filter: it may repeat another session's query."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True
