"""What can go wrong with the log, and what to do next."""


class Closed(Exception):
    """The partition takes no entries until an operator has recovered and reopened it: answer "retry later"."""


class TooLarge(ValueError):
    """An entry that fits no batch of Kafka could never be published: split it or refuse it."""


class PartitionMismatch(Exception):
    """Two sides, or two installations, disagree on the number of partitions, which is fixed for ever when the log is made."""


class Diverged(Exception):
    """What comes next does not continue what was taken before: the writer's history has changed. Nothing of it is taken."""


class ReportFailed(Exception):
    """The writer could not be told where we are. Consuming goes on; the report is made again."""


class Stalled(Exception):
    """The broker answers, there is something to be had and nothing moved: end the process, so that it starts anew."""


class Overtaken(Exception):
    """Somebody else has written this partition since we looked: nothing of ours was written; look again."""


class NotStored(Exception):
    """A batch was not written, for the reason that is its cause. Its partition begins anew; the others, and the group, notice nothing."""
