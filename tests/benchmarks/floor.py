"""The floor: the framework and a function that does nothing. No registry can cost less."""

import functions_framework
from cloudevents.http import CloudEvent


@functions_framework.cloud_event
def register_model(_: CloudEvent) -> None:
    """Acknowledge the event."""
