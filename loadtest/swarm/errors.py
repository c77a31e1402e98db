"""What a load test can be told: each error says what was asked and what is possible."""


class SwarmError(Exception):
    """Any error of this package."""


class TargetError(SwarmError):
    """The server cannot be addressed as described."""


class AccountsError(SwarmError):
    """The accounts cannot be used as described."""


class DescriptorLimitError(SwarmError):
    """The process may not open as many descriptors as the sessions asked for need."""

    def __init__(self, asked: int, used: int, limit: int) -> None:
        super().__init__(
            f"{asked} more sessions need {asked} descriptors, but of {limit} (RLIMIT_NOFILE) {used} are in use: "
            f"{max(0, limit - used)} more sessions are possible in this process"
        )
        self.asked = asked
        self.used = used
        self.limit = limit
