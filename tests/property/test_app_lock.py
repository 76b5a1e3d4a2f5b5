"""The lock of an app under many contenders: their requests interleave, they crash, pause and lose answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgci.engine.lock import LEASE, Contender, CreateLock, Hold, Lock, Owner, Refuse, WaitForLock, Way, excludes

MARGIN = 15.0  # as operations.app_lock
NOT_HELD, HELD, REFUSED, CRASHED, DONE = "contends", "holds", "refused", "crashed", "done"


@dataclass
class Server:
    """Marathon: each operation is one instant. Its clock runs as fast as the others', from another beginning."""

    offset: float
    now: float = 0.0
    locks: dict[str, Lock] = field(default_factory=dict)

    def create(self, lock_id: str, owner: Owner) -> None:
        at = self.now + self.offset
        self.locks[lock_id] = Lock(lock_id, owner, at, at)

    def renew(self, lock_id: str) -> bool:
        found = self.locks.get(lock_id)
        if found:
            self.locks[lock_id] = replace(found, renewed=self.now + self.offset)
        return found is not None


@dataclass
class Client:
    """One command: it drives the contender as operations.app_lock does, one request at each turn."""

    number: int
    owner: Owner
    server: Server
    skew: float  # of its monotonic clock
    wait_limit: float
    crashed: set[str]
    state: str = NOT_HELD
    own: str = ""
    asked: float = 0.0
    until: float = 0.0  # its own clock: when it stops to trust its lock
    next_turn: float = 0.0
    count: int = 0
    listing: list[Lock] | None = None
    contender: Contender = field(init=False)

    def __post_init__(self) -> None:
        gone = lambda owner: owner.process in self.crashed  # noqa: E731
        self.contender = Contender(self.owner, self.wait_limit, self.clock, gone=gone)

    @property
    def clock(self) -> float:
        return self.server.now + self.skew

    @property
    def trusts(self) -> bool:
        return self.state == HELD and self.clock < self.until

    def create(self) -> None:
        self.count += 1
        self.own, self.asked = f"/web-lock-{self.number}-{self.count}", self.clock
        self.server.create(self.own, self.owner)

    def turn(self) -> None:
        """One request, or the decision about the answer that came since: both ends of a request are apart."""
        if self.state == HELD:
            asked = self.clock
            if not self.server.renew(self.own):
                self.state = NOT_HELD
                self.contender = Contender(self.owner, 0.0, self.clock, gone=self.contender.gone)
                self.own = ""
            elif asked < self.until:
                self.until = asked + LEASE - MARGIN
            return
        if not self.own and self.count == 0:
            self.create()
        elif self.listing is None:
            self.listing = list(self.server.locks.values())
        else:
            listed, self.listing = self.listing, None
            step = self.contender.decide(listed, self.own, self.clock, self.asked)
            for lock in self.contender.dead:
                self.server.locks.pop(lock.id, None)
            self.follow(step)

    def follow(self, step: object) -> None:
        match step:
            case CreateLock():
                self.create()
            case Hold():
                self.state, self.until = HELD, self.asked + LEASE - MARGIN
            case Refuse():
                self.server.locks.pop(self.own, None)
                self.state = REFUSED
            case WaitForLock(seconds, _, withdraw):
                if withdraw:
                    self.server.locks.pop(self.own, None)
                    self.own = ""
                self.next_turn = self.server.now + seconds

    def end(self) -> None:
        self.server.locks.pop(self.own, None)
        self.state = DONE


OWNERS = st.builds(
    Owner,
    st.sampled_from(Way),
    revision=st.sampled_from(["", "v1", "v2"]),
    ci_job=st.sampled_from(["", "job-1"]),
)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Server, list[Client], Random]:
    random = Random(draw(st.integers(0, 2**32)))
    server, crashed = Server(offset=draw(st.sampled_from([0.0, 1.7e9, -21600.0]))), set()  # type: set[str]
    clients = [
        Client(
            n,
            replace(draw(OWNERS), process=str(n)),
            server,
            skew=random.uniform(-21600, 21600),
            wait_limit=draw(st.sampled_from([0.0, 5.0, 10_000.0])),
            crashed=crashed,
        )
        for n in range(draw(st.integers(2, 5)))
    ]
    return server, clients, random


def assert_exclusive(clients: list[Client]) -> None:
    holding = [one for one in clients if one.trusts]
    for one in holding:
        for other in holding:
            assert one is other or not excludes(one.owner, other.owner), (one.owner, other.owner)


@given(worlds(), st.floats(0, 0.05), st.floats(0, 0.1), st.booleans())
def test_h65_two_commands_never_hold_the_lock_at_once_despite_crashes_and_pauses(
    world: tuple[Server, list[Client], Random], crash: float, pause: float, noticed: bool
) -> None:
    server, clients, random = world
    held = 0
    for _ in range(600):
        server.now += random.choice([0.0, 0.01, 0.2, 1.0])
        ready = [one for one in clients if one.state in (NOT_HELD, HELD) and one.next_turn <= server.now]
        if not ready:
            continue
        one = random.choice(ready)
        if random.random() < crash:
            one.state = CRASHED
            if noticed:  # on the same machine
                one.crashed.add(one.owner.process)
        elif random.random() < pause:
            one.next_turn = server.now + random.choice([1.0, 30.0, 100.0])
        elif one.trusts and random.random() < 0.1:
            one.end()
        else:
            before = one.state
            one.turn()
            held += before == NOT_HELD and one.state == HELD
        assert_exclusive(clients)
    # The remaining commands give up their locks; the next command removes the locks of crashed ones.
    for one in clients:
        if one.state in (NOT_HELD, HELD):
            one.end()
    server.now += LEASE + 1
    last = Client(99, Owner(Way.PROCESS, process="99"), server, skew=5.0, wait_limit=0.0, crashed=set())
    for _ in range(8):
        server.now += 0.6
        last.turn()
        if last.state == HELD:
            break
    assert last.state == HELD
    last.end()
    assert not server.locks


@given(worlds())
def test_commands_without_a_time_limit_all_get_the_lock(world: tuple[Server, list[Client], Random]) -> None:
    server, clients, random = world
    for one in clients:
        one.contender = Contender(one.owner, 10_000.0, one.clock)
    for _ in range(20_000):
        if all(one.state == DONE for one in clients):
            break
        server.now += 0.05
        ready = [one for one in clients if one.state in (NOT_HELD, HELD) and one.next_turn <= server.now]
        for one in ready[:1] if random.random() < 0.5 else random.sample(ready, len(ready)):
            if one.state == HELD and random.random() < 0.2:
                one.end()
            else:
                one.turn()
        assert_exclusive(clients)
    assert [one.state for one in clients] == [DONE] * len(clients)
    assert not server.locks


@given(worlds())
def test_of_two_simultaneous_commands_without_a_wait_exactly_one_gets_the_lock(
    world: tuple[Server, list[Client], Random],
) -> None:
    server, clients, random = world
    two = clients[:2]
    for one in two:
        one.owner = replace(one.owner, way=Way.PROCESS, ci_job="")
        one.contender = Contender(one.owner, 0.0, one.clock)
    for _ in range(400):
        server.now += 0.02
        ready = [one for one in two if one.state == NOT_HELD and one.next_turn <= server.now]
        if ready:
            random.choice(ready).turn()
    assert sorted(one.state for one in two) == [HELD, REFUSED]


@pytest.mark.parametrize(
    ("one", "other", "excluded"),
    [
        (Owner(Way.PROCESS), Owner(Way.PROCESS), True),
        (Owner(Way.FOLLOW, revision="v1"), Owner(Way.FOLLOW, revision="v1"), True),
        (Owner(Way.FOLLOW, revision="v1"), Owner(Way.JOB, revision="v1"), False),
        (Owner(Way.FOLLOW, revision="v1"), Owner(Way.JOB, revision="v2"), True),
        (Owner(Way.FOLLOW), Owner(Way.JOB, revision="v2"), False),
        (Owner(Way.JOB, revision="v1"), Owner(Way.JOB, revision="v1"), True),
        (Owner(Way.PROCESS, revision="v1"), Owner(Way.JOB, revision="v1"), True),
        (Owner(Way.JOB), None, True),
    ],
)
def test_only_the_job_of_the_followed_revision_enters_the_lock(one: Owner, other: Owner | None, excluded: bool) -> None:
    assert excludes(one, other) is excludes(other, one) is excluded


@pytest.mark.parametrize(
    ("owner", "waits"),
    [
        (None, False),
        (Owner(Way.PROCESS, ci_job="job-1"), True),
        (Owner(Way.PROCESS, ci_job="job-2"), False),
        (Owner(Way.JOB, revision="v1"), False),
    ],
)
def test_only_the_lock_of_an_earlier_run_of_the_same_ci_job_is_waited_for(owner: Owner | None, waits: bool) -> None:
    me = Contender(Owner(Way.PROCESS, revision="v1", ci_job="job-1"), wait_limit=0.0, began=0.0)
    left = Lock("/web-lock-1", owner, since=0.0, renewed=0.0)
    step = me.decide([left], "", now=2.0, asked=0.0)
    assert isinstance(step, WaitForLock) is waits
    assert isinstance(step, Refuse) is not waits
