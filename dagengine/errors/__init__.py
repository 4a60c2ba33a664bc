"""The exceptions that this package raises deliberately.

    DagengineError
    ├── ConfigError                 a file, key or variable is invalid
    ├── ApiError                    an error response (operations packages add their own)
    │   ├── BindFailed              the request body does not have the route's type
    │   ├── IllegalArgument         the value of a parameter is invalid
    │   ├── RouteNotFound           unknown path or method
    │   ├── TaskNotFound            unknown DAG, node or sub-task
    │   ├── InvalidId               a generic id cannot be decoded
    │   ├── OperatorRefused         the operator is not allowed in this state
    │   ├── IdempotencyKeyReused    the key was used for a different request
    │   ├── PlanChanged             a request no longer has the effects of its plan
    │   ├── LockHeld                another DAG holds the lock
    │   ├── Conflict                the DAG was changed concurrently
    │   ├── ClusterUnknown          the service has no such cluster
    │   ├── ClusterNotServed        the controller cannot run the cluster's DAGs now
    │   ├── ClusterInUse            the cluster cannot be forgotten
    │   ├── NotOwner                another controller owns the cluster; call it instead
    │   └── OwnerUnavailable        at present no controller can answer for the cluster
    │       └── OwnerLost           the owner was lost; it is unknown whether it acted
    ├── UnknownOperation            the DAG's operation or version is not registered
    ├── EngineStopped               the engine was stopped before the call was done
    ├── SecurityError               a request was rejected (see dagengine.security)
    ├── StoreError
    │   ├── StaleWrite              a guarded write changed no row
    │   ├── NotSerializable         a value cannot be stored
    │   ├── StoreInUse              another controller owns this store
    │   ├── StoreUnavailable        unreadable, read-only, full or corrupt
    │   ├── OwnershipLost           another controller owns the cluster; nothing was written
    │   ├── MembershipRefused       a controller, or a request of it, does not fit the store
    │   ├── StoreTooNew             written by a newer version
    │   └── StoreTooOld             the schema is too old, and opening cannot upgrade it
    ├── ClientError                 raised by dagengine.client
    │   ├── ControllerUnreachable   no controller responds at the URL
    │   │   └── ResponseMalformed   the response is that of another program or version
    │   ├── DagIdUnknown            no DAG, or more than one, has such an id
    │   └── ApiRefused              the controller returned an error
    └── RemoteError
        ├── HostUnreachable         no connection to the host
        ├── HostKeyRejected         the host key is unknown, changed or revoked
        ├── AuthenticationFailed    the host rejected the SSH user or key
        ├── SudoRefused             login succeeded, but sudo to the configured user failed
        ├── CommandTimedOut         ended locally and, as far as known, on the host
        ├── ConnectionLost          the command was sent, its result is unknown; probe the host
        ├── ForwardingProhibited    sshd does not permit forwarding
        └── TunnelRefused           nothing listens on that port of the host

An error states what happened to which thing and, in `remedy`, what to do next.
An HTTP caller sees `err_code` and `http_status` (protocol section 8). Old clients
react to the integer `legacy_code`. `retryable` means that the same call may succeed
later without a fix.

Texts come from the catalogue of each package, `messages.py`. Messages and remedies are then
`MessageText` and keep the key and the fields of the message.
"""

from __future__ import annotations

from dagengine.error_codes import Code
from dagengine.errors.api import (
    OWNER_HEADER,
    ApiError,
    BindFailed,
    ClusterInUse,
    ClusterNotServed,
    ClusterUnknown,
    Conflict,
    EngineStopped,
    IdempotencyKeyReused,
    IllegalArgument,
    InvalidId,
    LockHeld,
    NotOwner,
    OperatorRefused,
    OwnerLost,
    OwnerUnavailable,
    PlanChanged,
    RouteNotFound,
    TaskNotFound,
    UnknownOperation,
)
from dagengine.errors.base import (
    ConfigError,
    DagengineError,
)
from dagengine.errors.client import (
    ApiRefused,
    ClientError,
    ControllerUnreachable,
    DagIdUnknown,
    ResponseMalformed,
)
from dagengine.errors.remote import (
    AuthenticationFailed,
    CommandTimedOut,
    ConnectionLost,
    ForwardingProhibited,
    HostKeyRejected,
    HostUnreachable,
    RemoteError,
    SudoRefused,
    TunnelRefused,
)
from dagengine.errors.security import (
    SecurityError,
)
from dagengine.errors.store import (
    MembershipRefused,
    NotSerializable,
    OwnershipLost,
    StaleWrite,
    StoreError,
    StoreInUse,
    StoreTooNew,
    StoreTooOld,
    StoreUnavailable,
)
from dagengine.messages import Message, MessageText

__all__ = [
    "OWNER_HEADER",
    "ApiError",
    "ApiRefused",
    "AuthenticationFailed",
    "BindFailed",
    "ClientError",
    "ClusterInUse",
    "ClusterNotServed",
    "ClusterUnknown",
    "Code",
    "CommandTimedOut",
    "ConfigError",
    "Conflict",
    "ConnectionLost",
    "ControllerUnreachable",
    "DagIdUnknown",
    "DagengineError",
    "EngineStopped",
    "ForwardingProhibited",
    "HostKeyRejected",
    "HostUnreachable",
    "IdempotencyKeyReused",
    "IllegalArgument",
    "InvalidId",
    "LockHeld",
    "MembershipRefused",
    "Message",
    "MessageText",
    "NotOwner",
    "NotSerializable",
    "OperatorRefused",
    "OwnerLost",
    "OwnerUnavailable",
    "OwnershipLost",
    "PlanChanged",
    "RemoteError",
    "ResponseMalformed",
    "RouteNotFound",
    "SecurityError",
    "StaleWrite",
    "StoreError",
    "StoreInUse",
    "StoreTooNew",
    "StoreTooOld",
    "StoreUnavailable",
    "SudoRefused",
    "TaskNotFound",
    "TunnelRefused",
    "UnknownOperation",
]
