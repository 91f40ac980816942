"""Everything a request may use, built once by `create_app` and passed down."""

from collections.abc import Callable
from dataclasses import dataclass

from redis import Redis

from api.metrics import ApiMetrics
from api.recordings import Recordings
from api.room import Room
from api.voices import VoiceDirectory
from api.waiting import WaitSlots
from shared.batches import BatchStore
from shared.bells import BackgroundBells
from shared.deliveries import DeliveryStore
from shared.jobs import JobStore
from shared.keys import FarmKeys
from shared.links import Links
from shared.presence import PresenceStore
from shared.settings import Settings
from shared.storage import ObjectStore
from shared.watch import Watcher


@dataclass(frozen=True, kw_only=True)
class Farm:
    """The farm as the API sees it. `stopping` says whether this process is about to end."""

    settings: Settings
    client: Redis
    jobs: JobStore
    batches: BatchStore
    watcher: Watcher
    presence: PresenceStore
    room: Room
    deliveries: DeliveryStore
    store: ObjectStore
    recordings: Recordings
    open_links: Callable[[], Links]
    keys: FarmKeys
    bells: BackgroundBells
    voices: VoiceDirectory
    slots: WaitSlots
    metrics: ApiMetrics
    check_address: Callable[[str], object]
    new_id: Callable[[], str]
    stopping: Callable[[], bool]

    @property
    def links(self) -> Links:
        """Signs with the farm's own secret, which is read from Redis when it is first needed."""
        return self.open_links()

    def close(self) -> None:
        """Stop listening and close the connections to Redis."""
        self.recordings.close()
        self.bells.close()
        self.watcher.close()
        self.client.close()
