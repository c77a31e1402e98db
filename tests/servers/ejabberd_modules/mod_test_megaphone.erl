%% For tests: commands that break a link's session, and that say what the node uses.
%% Compiled beside the module; it is no part of what operators install.

-module(mod_test_megaphone).
-behaviour(gen_mod).

-include("ejabberd_commands.hrl").

-export([start/2, stop/1, depends/2, mod_options/1, mod_doc/0]).
-export([kill_session/1, memory/0, suspend/2]).

start(_, _) ->
    ejabberd_commands:register_commands(commands()).

stop(_) ->
    ejabberd_commands:unregister_commands(commands()).

depends(_, _) -> [].
mod_options(_) -> [].
mod_doc() -> #{}.

commands() ->
    [#ejabberd_commands{name = test_kill_session, module = ?MODULE, function = kill_session,
                        args = [{link, binary}], result = {killed, integer}},
     #ejabberd_commands{name = test_suspend_clients, module = ?MODULE, function = suspend,
                        args = [{link, binary}, {milliseconds, integer}], result = {suspended, integer}},
     #ejabberd_commands{name = test_memory, module = ?MODULE, function = memory, args = [],
                        result = {memory, {tuple, [{total, integer}, {processes, integer}, {binary, integer},
                                                   {process_count, integer}]}}}].

%% Kill the process of each session with this name, as a defect would.
kill_session(Name) ->
    length([exit(Pid, kill) || Pid <- named(Name)]).

%% The clients' processes of the link stand still for so long, as under a shaper.
suspend(Name, Milliseconds) ->
    Clients = [Pid || Session <- named(Name), {monitors, Monitors} <- [process_info(Session, monitors)],
                      {process, Pid} <- Monitors],
    spawn(fun() ->
                  [erlang:suspend_process(Pid) || Pid <- Clients],
                  receive after Milliseconds -> ok end
          end),
    length(Clients).

named(Name) ->
    [Pid || Pid <- ejabberd_megaphone_registry:sessions(),
            maps:get(name, ejabberd_megaphone_session:info(Pid)) =:= Name].

%% After a garbage collection of every process.
memory() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    {erlang:memory(total), erlang:memory(processes), erlang:memory(binary), erlang:system_info(process_count)}.
