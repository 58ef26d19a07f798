"""The environments, in the order of promotion."""

from enum import StrEnum
from typing import Self

from registry.errors import UnknownEnvironment


class Environment(StrEnum):
    """Where a model version is meant to run."""

    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"

    @classmethod
    def of_bucket(cls, bucket: str) -> Self:
        """
        Read the environment from the end of a bucket's name. What comes before is free.

        >>> Environment.of_bucket("acme-ml-models-prod")
        <Environment.PROD: 'prod'>

        Raises:
            UnknownEnvironment: The name does not end in `-dev`, `-staging` or `-prod`.
        """
        _, dash, end = bucket.rpartition("-")
        if not dash or end not in cls:
            endings = ", ".join(f"-{environment}" for environment in cls)
            raise UnknownEnvironment(
                f"expected a bucket whose name ends in one of {endings}, found {bucket!r}"
            )
        return cls(end)
