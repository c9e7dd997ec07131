"""What a person is told when a file can't be read as a training log."""


class WorkoutLogError(ValueError):
    """A file that can't be imported; its message is a sentence for the person who sent the file."""


class EmptyFile(WorkoutLogError):
    """The file holds no rows."""


class UnknownFormat(WorkoutLogError):
    """The file isn't an export of Strong, Hevy or FitNotes."""


class WeightUnitMissing(WorkoutLogError):
    """The file has weights, but neither it nor the caller says whether they're kilograms or pounds."""
