"""What can go wrong, as a small typed tree.

    FramefillError
    |-- UsageError          what was asked for cannot be meant (exit status 2)
    |   `-- MaskMismatch    a mask that does not fit its video
    |-- MediaError          a file that cannot be read or written as video (exit status 1)
    |   |-- UnreadableMedia
    |   `-- UnwritableMedia
    |-- JobError            a job that cannot start or go on (exit status 1)
    `-- WeightsError        weights that cannot be fetched, read or trusted (exit status 1)
        `-- MissingWeights  weights that are not on this machine yet

Every message says what came, what was expected and what to do, in one line.
"""


class FramefillError(Exception):
    """Base of every error that framefill raises on purpose; its text is one line for the user."""

    exit_code = 1


class UsageError(FramefillError):
    """The request itself is wrong: an option, a combination of options, a value."""

    exit_code = 2


class MaskMismatch(UsageError):
    """A mask whose size, length or encoding does not fit its video and may not be repaired silently."""


class MediaError(FramefillError):
    """A media file that cannot be read or written."""


class UnreadableMedia(MediaError):
    """A source that holds no picture that could be decoded."""


class UnwritableMedia(MediaError):
    """A target that cannot be written: folder, permissions, disk space, codec or container."""


class JobError(FramefillError):
    """A job that cannot start or cannot go on: its folder is in use, damaged, or belongs to other inputs."""


class WeightsError(FramefillError):
    """A network's weights that cannot be fetched, read or trusted."""


class MissingWeights(WeightsError):
    """Weights that are not on this machine yet; the message names the command that gets them."""
