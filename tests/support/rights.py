"""Rights that an operator takes away on a broker that minds them, and gives back."""

from __future__ import annotations

from typing import Final

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.support.waiting import until

_ANY: Final = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # any name, user, host
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


class Rights:
    """Everybody's. A resource without an ACL is open to all."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 3})

    def take(self, kind: ResourceType, name: str, operation: AclOperation) -> None:
        """Take away one right; with it go those that Kafka derives from it, and no other."""
        # any ACL closes a resource to whoever is not named in one
        rules = [
            (AclOperation.ALL, AclPermissionType.ALLOW),
            (operation, AclPermissionType.DENY),
        ]
        literal = ResourcePatternType.LITERAL
        bindings = [AclBinding(kind, name, literal, "User:*", "*", *rule) for rule in rules]
        for future in self._admin.create_acls(bindings).values():
            future.result(30)
        # answered from what the broker goes by, which learns of them a moment later
        until(lambda: set(bindings) <= set(self._admin.describe_acls(_ANY).result(30)), 30)

    def give_back(self) -> None:
        """All that was taken."""
        for future in self._admin.delete_acls([_ANY]).values():
            future.result(30)
