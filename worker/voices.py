"""This process's voices: which engines the settings name, and each voice warm and proven.

An engine is made by its factory and imported only when it is looked at, so a farm of light
voices never loads torch. To add one: a factory in `ENGINES`, dear ones last.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from shared.errors import EngineUnavailable, SynthesisError, UnknownVoice
from shared.schemas import Voice
from shared.settings import Settings
from worker.audio import gate
from worker.engine.base import Engine
from worker.engine.renamed import RenamedEngine
from worker.text.characters import count_spoken
from worker.text.frontend import Frontend
from worker.types import Utterance

Factory = Callable[[Settings], Engine]


def _espeak(_: Settings) -> Engine:
    from worker.engine.espeak import EspeakEngine

    return EspeakEngine()


def _fake(settings: Settings) -> Engine:
    from worker.engine.fake import FakeEngine

    return FakeEngine(settings.fake_cost_s_per_char, load_s=settings.fake_load_s)


def _sambert(settings: Settings) -> Engine:
    if not settings.models:
        raise EngineUnavailable(
            "the engine sambert has no model: set TTSFARM_MODELS to model folders, which "
            "`ttsfarm-worker fetch` gets"
        )
    try:
        from worker.engine.sambert.engine import SambertEngine
        from worker.engine.sambert.grades import Grade, Half
        from worker.engine.sambert.options import SambertOptions
    except ImportError as error:
        raise _without(error, "sambert") from error
    folders = tuple(Path(name.strip()) for name in settings.models.split(",") if name.strip())
    return SambertEngine(
        SambertOptions(
            model_dirs=folders,
            grade=Grade(settings.grade),
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            device=settings.sambert_device,
            half=Half(settings.sambert_half),
            batch_size=settings.sambert_batch,
        )
    )


def _modelscope(settings: Settings) -> Engine:
    if not settings.modelscope_model:
        raise EngineUnavailable(
            "the engine modelscope has no model: set TTSFARM_MODELSCOPE_MODEL to a folder or id"
        )
    from worker.engine.modelscope import ModelscopeEngine, ModelscopeOptions

    return ModelscopeEngine(
        ModelscopeOptions(model=settings.modelscope_model, revision=settings.modelscope_revision)
    )


def _without(error: ImportError, extra: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"the engine {extra} needs {error.name}, which is not installed: pip install "
        f"'ttsfarm[{extra}]'"
    )


ENGINES: Mapping[str, Factory] = MappingProxyType(
    {"espeak": _espeak, "fake": _fake, "sambert": _sambert, "modelscope": _modelscope}
)

_WARM_UP = {"zh": "你好，欢迎使用语音合成。", "en": "Hello, and welcome."}


class Voices:
    """The voices named by the setting `voices`: engines or voices, comma-separated.

    A name that both an engine and a voice have means the voice. Raises `EngineUnavailable`
    listing what exists when a name is none of them. Nothing is loaded before `warm`.
    """

    def __init__(self, settings: Settings, engines: Mapping[str, Factory] = ENGINES) -> None:
        self.frontend = Frontend()
        self._settings = settings
        self._factories = engines
        self._made: dict[str, Engine] = {}
        self._offered: dict[str, Voice] = {}
        for name in filter(None, map(str.strip, settings.voices.split(","))):
            for voice in self._resolve(name):
                renamed = replace(voice, name=voice.name + settings.voice_suffix)
                self._offered[renamed.name] = renamed
        if not self._offered:
            raise EngineUnavailable(
                f"the setting voices is {settings.voices!r} and names no voice; "
                f"name engines or voices such as {', '.join(engines)}"
            )

    def names(self) -> tuple[str, ...]:
        """The names of the offered voices, in the order of the setting."""
        return tuple(self._offered)

    def offered(self) -> tuple[Voice, ...]:
        """What this process offers, loaded or not."""
        return tuple(self._offered.values())

    def voice(self, name: str) -> Voice:
        """An offered voice, by its name with the suffix or without, as markup may have it.

        Raises `UnknownVoice` for any other: markup may name what it likes, and no engine is unfit.
        """
        voice = self._offered.get(name) or self._offered.get(name + self._settings.voice_suffix)
        if voice is None:
            offered = ", ".join(self._offered)
            raise UnknownVoice(
                f"this worker does not offer the voice {name!r}; it offers {offered}",
                voices=[*self._offered],
            )
        return voice

    def engine(self, voice: str) -> Engine:
        """The engine of an offered voice."""
        engine, suffix = self._engine(self.voice(voice).engine), self._settings.voice_suffix
        return RenamedEngine(engine, suffix) if suffix else engine

    def warm(self) -> tuple[Voice, ...]:
        """Load every offered voice and have each say a sentence through the audio gate.

        Raises `EngineUnavailable` for the first that does not, naming it and the reason.
        """
        for voice in self.offered():
            self._warm(voice)
        chinese = [voice for voice in self.offered() if voice.language.startswith("zh")]
        if chinese:  # a second of dictionaries, which no job shall wait for
            symbols = any(self.engine(voice.name).takes_symbols for voice in chinese)
            self.frontend.load(symbols=symbols)
        return self.offered()

    def _warm(self, voice: Voice) -> None:
        engine = self.engine(voice.name)
        engine.load(voice.name)
        text = _WARM_UP.get(voice.language.split("-")[0], _WARM_UP["en"])
        symbols = self._symbols_of(text) if engine.takes_symbols else None
        try:
            (rendering,) = engine.render(voice.name, [Utterance(text=text, symbols=symbols)])
            gate.check(rendering.wave, n_chars=count_spoken(text))
        except SynthesisError as error:
            raise EngineUnavailable(
                f"the voice {voice.name} failed its warm-up sentence: {error.message}"
            ) from error

    def _symbols_of(self, text: str) -> str | None:
        (segment,) = self.frontend.segments(text)
        return segment.symbols

    def _engine(self, name: str) -> Engine:
        if name not in self._made:
            self._made[name] = self._factories[name](self._settings)
        return self._made[name]

    def _resolve(self, name: str) -> Iterator[Voice]:
        """The voices an engine's or a voice's name stands for."""
        if name in self._factories and name not in self._voices_of(name):
            yield from self._voices_of(name).values()
            return
        for engine in self._set_up():
            found = self._voices_of(engine).get(name)
            if found is not None:
                yield found
                return
        raise EngineUnavailable(f"no engine has the voice {name!r}; there are {self._catalogue()}")

    def _voices_of(self, engine: str) -> dict[str, Voice]:
        return {voice.name: voice for voice in self._engine(engine).voices()}

    def _catalogue(self) -> str:
        return "; ".join(
            f"{engine}: {', '.join(self._voices_of(engine))}" for engine in self._set_up()
        )

    def _set_up(self) -> Iterator[str]:
        """The engines that have what they need; the others' voices can only be asked by engine."""
        for engine in self._factories:
            try:
                self._engine(engine)
            except EngineUnavailable:
                continue
            yield engine
