"""A chat that fills the terminal: room and server on top, the talk, who is here, and a line to type in (textual)."""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Resize
from textual.widgets import Input, Label, Static
from textual.worker import Worker

from megaphone.cli.chat_drawing import draw_occupants
from megaphone.cli.chat_events import Event
from megaphone.cli.chat_session import Session
from megaphone.cli.chat_settings import ChatError, Settings
from megaphone.cli.chat_talk import Talk
from megaphone.cli.chat_text import readable
from megaphone.cli.chat_typing import EXIT, PROMPT

OCCUPANTS_MIN_COLUMNS: Final = 60  # a narrower terminal has no room for who is here


async def chat(settings: Settings) -> None:
    """Chat until the user leaves; else ChatError."""
    screen = ChatScreen(settings)
    await screen.run_async()
    if screen.error is not None:
        raise screen.error
    if screen.work is not None and screen.work.error is not None:
        raise screen.work.error


class ChatScreen(App[None]):
    """`error` is why the chat ended, None if the user left."""

    TITLE = "Megaphone"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layers: base; }
    #top { height: 1; background: $primary-darken-2; color: $text; }
    #title { width: 1fr; padding: 0 1; }
    #server { width: auto; padding: 0 1; }
    #talk { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; background: $surface; }
    #talk, #talk:hover { scrollbar-background: $surface; scrollbar-background-hover: $surface; }
    #here { width: 18; height: 1fr; padding: 0 1; border-left: solid $primary-darken-2; background: $surface; }
    #line { height: 1; background: $panel; }
    #prompt { color: $accent; padding: 0 1; text-style: bold; }
    #input { width: 1fr; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q,ctrl+d", "leave", "Leave", priority=True, show=False),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
    ]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.session: Session | None = None
        self.error: ChatError | None = None
        self.work: Worker[None] | None = None

    def compose(self) -> ComposeResult:
        """The four parts of the screen."""
        with Horizontal(id="top"):
            yield Static(id="title")
            yield Static(id="server")
        with Horizontal():
            yield Talk(id="talk")
            yield Static(id="here")
        with Horizontal(id="line"):
            yield Label(PROMPT.strip(), id="prompt")
            yield Input(id="input", compact=True, placeholder="say something, or exit to leave")

    def on_mount(self) -> None:
        """Begin to chat."""
        self.query_one("#input", Input).focus()
        self.session = Session(self.settings, self._show)
        self.work = self.run_worker(self._chat(self.session), exit_on_error=False)
        self.set_interval(0.5, self._draw_state)
        self._draw_state()

    def on_resize(self, resized: Resize) -> None:
        """Show who is here if there is room."""
        self.query_one("#here").display = resized.size.width >= OCCUPANTS_MIN_COLUMNS
        self.call_after_refresh(self._draw_state)

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        """Say the line that was typed."""
        text = submitted.value.strip()
        if text == EXIT:
            self.action_leave()
        elif text and self.session is not None:
            if self.session.say_nowait(text):
                submitted.input.clear()
                self.query_one("#talk", Talk).follow()
            else:
                self.notify("Too many of your lines wait to be heard", severity="warning", markup=False)

    def action_leave(self) -> None:
        """Leave the room; a second time, do not wait for the server."""
        if self.session is None or self.session.leaving:
            self.exit()
        else:
            self.session.leave()

    def action_scroll(self, pages: int) -> None:
        """Scroll the talk while the focus stays on the line."""
        talk = self.query_one("#talk", Talk)
        if pages < 0:
            talk.scroll_page_up(animate=False)
        else:
            talk.scroll_page_down(animate=False)

    async def _chat(self, session: Session) -> None:
        try:
            await session.run()
        except ChatError as error:
            self.error = error
        finally:
            self.exit()

    # Drawing --------------------------------------------------------------------------------------------------------

    def _show(self, event: Event) -> None:
        if self.is_running:
            self.query_one("#talk", Talk).add(event)
            self._draw_state()

    def _draw_state(self) -> None:
        session = self.session
        if session is None or not self.is_running:
            return
        room = session.room
        title = Text(room.jid if room is not None else self.settings.room, "bold", no_wrap=True, overflow="ellipsis")
        if room is not None and room.subject:
            title.append(f"  {readable(' '.join(room.subject.split()))}", "not bold")
        self.query_one("#title", Static).update(title)
        state = ("● ", "green") if session.inside else ("○ ", "yellow")
        server = Text.assemble(state, str(session.rotation.current))
        waiting = 0 if room is None else len(room.pending)
        if waiting and not session.inside:
            server.append(f" · {waiting} unsent", "yellow")
        self.query_one("#server", Static).update(server)
        here = self.query_one("#here", Static)
        if room is not None:
            here.update(draw_occupants(list(room.occupants), room.nick, here.size.height))
