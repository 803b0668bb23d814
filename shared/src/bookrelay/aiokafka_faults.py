"""Two faults of aiokafka 0.14 that leave a service up and dead, worked around here (ADR 4). The third is `Publisher`'s time-out.

The only module that may use a private name of a library; `tests/architecture/test_public_surface.py` lists which.
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaError


def work_around() -> None:
    """Work around both, for every client of Kafka in this process; `bookrelay.kafka` calls it once."""
    _closed_connections_are_told()
    _heartbeats_that_fail_rejoin()


def _closed_connections_are_told() -> None:
    """Let aiokafka see that a connection is closed when uvloop says so.

    uvloop raises RuntimeError where a closed connection is written to, and aiokafka expects OSError: a consumer's heartbeat ended
    with it and never began again, so that its loop failed 250 times a second, for ever, in a service that was "ready".
    """
    send = AIOKafkaConnection.send

    def told(self: Any, request: Any, expect_response: bool = True) -> Any:
        try:
            return send(self, request, expect_response)
        except KafkaError:  # a RuntimeError, too: what the broker cannot do is no broken connection
            raise
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error

    AIOKafkaConnection.send = told


def _heartbeats_that_fail_rejoin() -> None:
    """Let a consumer join its group anew when its heartbeat ends with an error that aiokafka does not expect.

    That is whatever else the broker answers: UNKNOWN_SERVER_ERROR, or GROUP_ID_NOT_FOUND from one that has lost its groups. The
    heartbeat never began again, and every read failed with its error, for ever, in a service that was "ready".
    """
    routine = GroupCoordinator._heartbeat_routine

    async def beating(self: Any) -> None:
        try:
            await routine(self)
        except KafkaError:  # aiokafka has logged it
            self.reset_generation()

    GroupCoordinator._heartbeat_routine = beating
