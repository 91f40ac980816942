"""How a worker acknowledges the bells it heard.

kombu counts a message as in hand until Redis has heard its acknowledgement. One that is lost to a
broken line would stay in hand for good, and a worker that takes one bell at a time would hear no
other: it would be deaf on a line that has long been mended.
"""

from celery.worker.request import Request
from kombu.transport.virtual import QoS


class Heard(Request):  # type: ignore[misc]  # celery has no types
    """A bell in hand until it is acknowledged, whether or not Redis hears of it.

    One that Redis did not hear of comes again after the broker's visibility timeout, as a bell that
    nobody needs.
    """

    def acknowledge(self) -> None:
        """Raises what kombu raises on a pipe that broke."""
        if self.acknowledged:
            return
        try:
            super().acknowledge()
        finally:
            # The transport's own does this after Redis has answered; twice is once.
            QoS.ack(self.message.channel.qos, self.message.delivery_tag)  # type: ignore[no-untyped-call]
