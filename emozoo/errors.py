"""Every error emozoo raises on purpose. Each says what was wrong, where, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from emozoo.printable import printable


class EmozooError(Exception):
    """Base of all errors that emozoo raises on purpose; the command line prints them without a traceback.

    Messages quote names and files of others, and are safe to show wherever they turn up.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class EmozooWarning(UserWarning):
    """Something a user should know that does not stop the work."""

    def __str__(self) -> str:
        return printable(super().__str__())


class RecipeError(EmozooError):
    """A recipe or a configuration is wrong; the message lists every wrong key with its dotted path."""


class UnknownComponentError(EmozooError):
    """No installed plugin provides a component of that kind and name."""


class AmbiguousComponentError(EmozooError):
    """Two distributions provide the same short name."""


class PluginLoadError(EmozooError):
    """A plugin could not be imported, or is not what its entry point says it is."""


class PluginAPIError(PluginLoadError):
    """A plugin was written for another version of emozoo's plugin contracts."""


class ContractError(EmozooError):
    """A component does not keep the contract of its kind (shapes, attributes)."""


class UnknownModelError(EmozooError):
    """The zoo has no model of that name."""


class WeightsUnavailableError(EmozooError):
    """A zoo entry is known but its weights are not published; the message names the ways to get them."""


class MissingPluginError(EmozooError):
    """A saved model needs a plugin, a version of one or a component of one, that is not installed."""


class CorruptModelError(EmozooError):
    """A file of a model folder is missing, damaged, or does not belong to the others."""


class ExportError(EmozooError):
    """A model cannot be exported as asked; no file was written."""


class ConversionError(EmozooError):
    """A checkpoint of other code is not what it is to be converted to, or holds more than weights."""


class HubError(EmozooError):
    """The Hub did not give or take what was asked; no message of these holds a token."""


class ModelNotFoundError(HubError):
    """The Hub has no such model or revision, or does not show it to this token."""


class GatedModelError(HubError):
    """The Hub gives a model only to those who have asked for access; the message says where."""


class HubUnavailableError(HubError):
    """The Hub does not answer as it should, and no whole copy is in the cache."""


class OfflineError(HubUnavailableError):
    """The Hub cannot be reached, and no whole copy is in the cache; the message names the ways on."""


class PushError(HubError):
    """A model was not published as asked; the message says what is where, and what to do."""


class DetectorUnavailableError(EmozooError):
    """A face detector cannot be used here: its library or its file is not there; the message names the ways on."""


class DataError(EmozooError):
    """A dataset or a media file cannot be used as it is."""


class DatasetNotRecognisedError(DataError):
    """No dataset reader recognises a folder or file, or more than one does."""


class TrainingError(EmozooError):
    """Training cannot start or go on; the last checkpoint is intact."""


class ResumeError(TrainingError):
    """A run cannot be resumed as asked: no checkpoint, or a recipe that has changed."""


class Interrupted(TrainingError):
    """A signal ended the run; a checkpoint has been written."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(f"interrupted at step {step}; a checkpoint is written: go on with --resume")
        self.signal = number


class ScaffoldError(EmozooError):
    """A package cannot be made of this name, kind or place."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
