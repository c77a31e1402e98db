"""Two tabs more on Locust's web page, sessions and verdict, and an answer to what its form cannot mean."""

import json
from collections.abc import Mapping
from typing import Any

import flask
from locust.env import Environment
from locust.runners import STATE_RUNNING
from locust.util.timespan import parse_timespan
from werkzeug.datastructures import ImmutableMultiDict

from loadtest.conduct import Conductor
from loadtest.options import DEFAULT_PROFILE, UsageError, plan, plan_tables
from loadtest.profiles import names
from loadtest.run import Run
from loadtest.users.choice import choose

COUNTERS = {
    "open": "sessions live",
    "connecting": "sessions logging in",
    "waiting": "sessions waiting to come back",
    "lost": "sessions lost",
    "closed": "sessions that left in order",
    "logins": "logins",
    "chat_sent": "messages sent",
    "chat_received": "messages delivered",
    "chat_bounced": "messages returned",
    "peers": "peers known",
    "occupants": "room occupants",
    "room_sent": "room messages sent",
    "room_received": "room messages delivered",
    "odd_open": "odd clients logged in",
    "odd_hostile_refused": "bad inputs refused",
}
"""What the tab of sessions shows, and the file of sessions over time."""
ALWAYS = ("open", "lost", "logins")
"""What the tab shows even if it is 0."""
NUMBERS = {"sessions_per_user": int, "time_scale": float}


def extend(environment: Environment, run: Run, conductor: Conductor) -> None:
    """Add the tabs, and look at what the form sends before Locust does."""
    web: Any = environment.web_ui
    web.template_args |= {
        "all_profiles": names(),
        "extended_tabs": [{"title": "Sessions", "key": "sessions"}, {"title": "Verdict", "key": "verdict"}],
        "extended_tables": [
            {"key": "sessions", "structure": [{"key": "name", "title": "Sessions"}, {"key": "count", "title": "#"}]},
            {
                "key": "verdict",
                "structure": [
                    {"key": "name", "title": "Criterion"},
                    {"key": "wanted", "title": "Wanted"},
                    {"key": "measured", "title": "Measured"},
                    {"key": "verdict", "title": "Verdict"},
                ],
            },
        ],
    }

    def check() -> flask.Response | None:
        if flask.request.method != "POST" or flask.request.path.rpartition("/")[2] != "swarm":
            return None
        form = flask.request.form
        try:
            profile_hold(environment, form.get("run_time"))
            check_form(environment, form)
        except (UsageError, ValueError) as error:
            return flask.jsonify({"success": False, "message": str(error), "host": environment.host})
        # The time is the hold's now; Locust would count it from the start and cut the test short.
        flask.request.form = ImmutableMultiDict((key, value) for key, value in form.items() if key != "run_time")
        return None

    def add(response: flask.Response) -> flask.Response:
        if flask.request.path.endswith("/stats/requests") and response.is_json:
            report = json.loads(response.get_data())
            if conductor.course and not conductor.lines:
                report["state"] = (
                    STATE_RUNNING  # the page asks no more once a test has stopped, and the verdict comes then
                )
            report["extended_stats"] = [
                {"key": "sessions", "data": session_rows(run, conductor)},
                {"key": "verdict", "data": verdict_rows(conductor)},
            ]
            response.set_data(json.dumps(report))
        return response

    web.app.before_request(check)
    web.app.after_request(add)


def profile_hold(environment: Environment, text: str | None) -> None:
    """Take the form's run time as the profile's hold."""
    try:
        vars(environment.parsed_options)["hold_seconds"] = parse_timespan(text) if text else 0
    except ValueError:
        raise UsageError("run time: 20, 20s, 3m, 2h, 1h20m") from None


def check_form(environment: Environment, form: Mapping[str, str]) -> None:
    """UsageError if the form's values, with the options of the command line, are not a test; else it is prepared."""
    options: dict[str, Any] = dict(vars(environment.parsed_options))
    for key, value in form.items():
        if key in NUMBERS:
            try:
                options[key] = NUMBERS[key](value)
            except ValueError:
                raise UsageError(f"{key.replace('_', ' ')}: {value!r} is not a number") from None
        elif key in options:
            options[key] = value == "true" if isinstance(options[key], bool) else value
    options["profile"] = form.get("profile") or DEFAULT_PROFILE
    made = plan(options | plan_tables(options), form.get("host") or environment.host)
    choose(environment, made.profile, options)


def session_rows(run: Run, conductor: Conductor) -> list[dict[str, str]]:
    """The tab of sessions."""
    totals, course = run.census.totals(), conductor.course
    wanted = [{"name": "sessions wanted", "count": f"{course.measured.wanted:,}"}] if course else []
    rows = [
        {"name": title, "count": f"{totals.get(key, 0):,}"}
        for key, title in COUNTERS.items()
        if totals.get(key) or key in ALWAYS
    ]
    return wanted + rows + [{"name": each, "count": "problem"} for each in run.census.problems]


def verdict_rows(conductor: Conductor) -> list[dict[str, str]]:
    """The tab of the verdict; while the test goes on, how far it is."""
    if not conductor.lines:
        phase = conductor.course.phase if conductor.course else "not started"
        return [{"name": "the test is in its", "wanted": "", "measured": phase, "verdict": ""}]
    return [
        {
            "name": each.criterion,
            "wanted": each.wanted,
            "measured": each.measured,
            "verdict": "pass" if each.passed else "MISSED",
        }
        for each in conductor.lines
    ]
