"""Who acts. Agents, people and our own processes are different types, so that an agent's
credential can never hold a person's power (invariant 13)."""

from dataclasses import dataclass, field

CLIENT_PREFIX = "client:"


@dataclass(frozen=True, kw_only=True)
class Client:
    """An AI client, as its access token names it."""

    id: str
    charter: str  # the one charter this token acts under
    scopes: tuple[str, ...] = ()
    # Where the token holds; None: wherever its charter does, for what is not a token.
    sites: tuple[str, ...] | None = None
    # The epoch (store/governance.py) at which the credential was found good; None: not by one.
    epoch: int | None = field(default=None, compare=False, repr=False)

    @property
    def agent(self) -> str:
        return f"{CLIENT_PREFIX}{self.id}"


@dataclass(frozen=True, kw_only=True)
class Person:
    """A member of staff, as their session names them."""

    id: str
    roles: tuple[str, ...]  # e.g. "scheduler", "clinician", "operator"
    sites: tuple[str, ...]
    mfa: bool = False  # signed in with a second factor
    sealed: bool = False  # by a sealed account, which is for break-glass and nothing else
    patient: str | None = None  # "Patient/7": an EHR opened this session for this one only

    @property
    def agent(self) -> str:
        return f"person:{self.id}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A program that asks about Chartgate itself: an audit repository, a monitor, a resource
    server. It holds powers of the config, sees no chart, and decides nothing."""

    id: str
    may: tuple[str, ...]  # of config.POWERS

    @property
    def agent(self) -> str:
        return f"service:{self.id}"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One of our own processes, e.g. "worker", or an operator at the command line."""

    id: str

    @property
    def agent(self) -> str:
        return f"process:{self.id}"


Principal = Client | Person | Service | Process
