"""The connection to one host: opened on demand, shared, and replaced when it stops working."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import asyncssh

from dagengine.errors import HostUnreachable, RemoteError
from dagengine.remote import messages
from dagengine.remote.runner import HostAddress
from dagengine.remote.ssh.connector import Login, no_answer
from dagengine.runtime.clock import Clock

_CLOSE_BOUND_S = 2.0
_SIGN_OF_LIFE_S = 2.0
_DISCARD_PORT = 9


class ConnectRateLimiter:
    """Spreads new connections over time, so that connecting to many hosts is not one burst.

    It limits the rate, not the number of pending connections, so an unresponsive host does not
    delay the others.
    """

    def __init__(self, clock: Clock, random: Random, *, per_s: float = 200.0, burst: int = 16):
        """Create a limiter that allows a full burst at first.

        Args:
            clock: for the rate.
            random: for the jitter.
            per_s: long-term limit on new connections per second, above 0.
            burst: how many connections may start at once after a pause, at least 1.
        """
        self._clock = clock
        self._random = random
        self._interval_s = 1.0 / per_s
        self._credit_s = burst * self._interval_s
        self._next_s = float("-inf")

    async def wait(self) -> None:
        """Wait until the caller may start to connect."""
        await asyncio.sleep(self.delay_s())

    def delay_s(self) -> float:
        """Reserve a slot; return the delay until it, in seconds, at least 0."""
        now_s = self._clock.monotonic_s()
        step_s = self._interval_s * self._random.uniform(0.5, 1.5)
        self._next_s = max(self._next_s, now_s - self._credit_s) + step_s
        return max(0.0, self._next_s - now_s)


class SshConnection:
    """The connection to one address. At most one is handed out to new users at a time.

    A connection that stops working is retired: new users do not get it, and it is closed when its
    last user returns it. One stuck command therefore does not break the connection of the others.
    """

    def __init__(
        self,
        address: HostAddress,
        pacing: ConnectRateLimiter,
        login: Login,
        bastion: SshConnection | None = None,
    ) -> None:
        """Create the connection; it is opened on first use.

        Args:
            address: the host.
            pacing: rate limit on connections without a bastion.
            login: performs the logins.
            bastion: the connection to `address.jump`, shared by all hosts behind it.
        """
        self.address = address
        self._pacing = pacing
        self._login = login
        self._bastion = bastion
        self._opening = asyncio.Lock()
        self._offered: asyncssh.SSHClientConnection | None = None
        self._users: Counter[asyncssh.SSHClientConnection] = Counter()
        self._bastions: dict[asyncssh.SSHClientConnection, asyncssh.SSHClientConnection] = {}
        self._closed = False

    @property
    def is_open(self) -> bool:
        """True if an open connection is available."""
        return self._offered is not None and not self._offered.is_closed()

    @property
    def hops(self) -> int:
        """Number of bastions in front of the host."""
        return len(self.address.route()) - 1

    @asynccontextmanager
    async def use(self) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """Yield the connection, kept open at least until the context ends; raises like `take`."""
        connection = await self.take()
        try:
            yield connection
        finally:
            self.release(connection)

    async def take(self) -> asyncssh.SSHClientConnection:
        """Return the connection, opened if necessary and kept open until `release`.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: no connection; the message names
                the hop that failed.
        """
        connection = await self._get()
        self._users[connection] += 1
        return connection

    def release(self, connection: asyncssh.SSHClientConnection) -> None:
        """End one use of a connection returned by `take`."""
        self._users[connection] -= 1
        self._drop_if_unused(connection)

    def offers(self, connection: asyncssh.SSHClientConnection) -> bool:
        """Return True if new users get this connection."""
        return connection is self._offered and not connection.is_closed()

    def retire(self, connection: asyncssh.SSHClientConnection) -> None:
        """Stop handing out this connection; it is closed when its last user returns it."""
        if self._offered is connection:
            self._offered = None
        self._drop_if_unused(connection)

    async def close(self) -> None:
        """Close all connections, even those in use. Bounded, and safe to call twice."""
        self._closed = True
        connections = {*self._users, *filter(None, [self._offered])}
        for connection in connections:
            connection.close()
        try:
            async with asyncio.timeout(_CLOSE_BOUND_S):
                for connection in connections:
                    await connection.wait_closed()
        except TimeoutError:
            for connection in connections:
                connection.abort()
        self._offered = None

    async def _get(self) -> asyncssh.SSHClientConnection:
        try:
            # The limit applies to every waiting caller, not only to the one that connects.
            bound_s = self.address.login_bound_s + self.hops * _SIGN_OF_LIFE_S
            async with asyncio.timeout(bound_s), self._opening:
                if self._closed:
                    raise HostUnreachable(
                        messages.CONNECTION_CLOSED(address=self.address),
                        host=str(self.address),
                    )
                if self._offered is None or self._offered.is_closed():
                    closed_connection, self._offered = self._offered, None
                    if closed_connection is not None:
                        self._drop_if_unused(closed_connection)
                    self._offered = await self._open()
                return self._offered
        except TimeoutError:
            raise no_answer(self.address) from None

    async def acquire_bastion(self) -> asyncssh.SSHClientConnection | None:
        """Return the connection to the bastion, to be given back; None without a bastion.

        Raises:
            HostUnreachable, HostKeyRejected, AuthenticationFailed: the bastion cannot be used.
        """
        if self._bastion is None:
            return None
        try:
            return await self._bastion.take()
        except RemoteError as error:
            raise type(error)(
                messages.BASTION_UNUSABLE(address=self.address, reason=error.message),
                host=error.host,
                remedy=error.remedy,
            ) from error

    def release_bastion(self, through: asyncssh.SSHClientConnection | None) -> None:
        """End one use of the bastion's connection."""
        if self._bastion is not None and through is not None:
            self._bastion.release(through)

    async def _open(self) -> asyncssh.SSHClientConnection:
        through = await self.acquire_bastion()
        connection = None
        try:
            if through is None:
                await self._pacing.wait()
            connection = await self._login.log_in(self.address, through)
        except HostUnreachable:
            await self._raise_if_bastion_is_dead(through)
            raise
        finally:
            if connection is None:
                self.release_bastion(through)
        if through is not None:
            self._bastions[connection] = through  # held as long as the host's connection
        return connection

    async def _raise_if_bastion_is_dead(self, through: asyncssh.SSHClientConnection | None) -> None:
        """Retire the connection to the bastion if the bastion no longer responds.

        Raises:
            HostUnreachable: the bastion no longer responds.
        """
        bastion = self._bastion
        if bastion is None or through is None or await _gives_sign_of_life(through):
            return
        bastion.retire(through)
        raise HostUnreachable(
            messages.BASTION_SILENT(bastion=bastion.address, address=self.address),
            host=str(bastion.address),
            remedy=messages.CHECK_BASTION(),
        )

    def _drop_if_unused(self, connection: asyncssh.SSHClientConnection) -> None:
        if self._users[connection] > 0:
            return
        del self._users[connection]
        if connection is self._offered:
            return
        connection.abort()
        self.release_bastion(self._bastions.pop(connection, None))


async def _gives_sign_of_life(connection: asyncssh.SSHClientConnection) -> bool:
    """Send a request that any sshd grants or refuses at once; either shows that it responds."""
    try:
        async with asyncio.timeout(_SIGN_OF_LIFE_S):
            _, writer = await connection.open_connection("127.0.0.1", _DISCARD_PORT)
            writer.close()
    except asyncssh.ChannelOpenError:
        return not connection.is_closed()
    except (TimeoutError, asyncssh.Error, OSError):
        return False
    return True
