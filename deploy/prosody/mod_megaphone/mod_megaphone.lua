-- Takes the clients of Megaphone's edge over a few links, in the link protocol, as if each had a socket of its own.
--
--   megaphone_ports = { 5270 }
--   megaphone_interfaces = { "127.0.0.1" }
--   megaphone_secret_file = "/etc/prosody/megaphone.secret"
--
-- For Prosody 0.12 and later with Lua 5.3 or later. docs/how-to/link-prosody.md has all options.
--
-- The files, from the bytes up: frames (the format), socket (framing, greeting), link with outgoing and incoming (a
-- session: what survives a broken socket), stream with connection (one client, as the connection object that mod_c2s and
-- other modules want), listing (the shell's commands), options.

module:set_global();

if not string.pack then
	error("mod_megaphone needs Lua 5.3 or later, this is " .. _VERSION, 0);
end

module:depends("c2s");

local settings = module:require "options";
local sockets_library = module:require "socket";
local list = module:require "listing";

local async = require "util.async";
local add_task = require "util.timer".add_task;
local stop_task = require "util.timer".stop;
local portmanager = require "core.portmanager";

local links = sockets_library.links;
local sockets = {}; -- net.server's connection -> our socket
local ticking; -- the timer, while there is something to look after

local TICK_SECONDS = 1;
local STOPPING_SECONDS = 3; -- for the last frames to leave

local function tick()
	if sockets_library.tick() then
		return TICK_SECONDS;
	end
	ticking = nil;
end

local verify = settings.ssl and settings.ssl.verify;
local wants_certificate = settings.ssl and verify ~= "none";

-- Prosody's contexts go on with a handshake whose certificate is bad and leave the judgement to who uses the connection.
local function certificate_problem(conn)
	local tls = conn:socket();
	local ok, errors = tls:getpeerverification();
	if not tls:getpeercertificate() then
		return "no client certificate";
	elseif not ok then
		local depth = type(errors) == "table" and errors[1];
		return type(depth) == "table" and depth[1] or "client certificate not trusted";
	end
end

local listener = { default_mode = 32768 };

function listener.onconnect(conn)
	if wants_certificate then
		local problem = certificate_problem(conn);
		if problem then
			module:log("warn", "Refusing a link from %s: %s", conn:ip(), problem);
			conn:close();
			return;
		end
	end
	conn:setoption("tcp-nodelay", true);
	sockets[conn] = sockets_library.new(conn);
	ticking = ticking or add_task(TICK_SECONDS, tick);
end

function listener.onincoming(conn, data)
	local socket = sockets[conn];
	if socket then socket:receive(data); end
end

function listener.ondrain(conn)
	local socket = sockets[conn];
	if socket then socket:drained(); end
end

-- Silence is judged by the link itself.
function listener.onreadtimeout()
	return true;
end

module:provides("net", {
	name = "megaphone";
	listener = listener;
	default_port = 5270;
	private = true;
	encryption = settings.ssl and "ssl" or nil;
	ssl_config = settings.ssl and { verify = wants_certificate and { "peer", "fail_if_no_peer_cert" } or "none" } or nil;
});

-- The name an edge gives in TLS is that of the link, not one of our hosts, which portmanager would insist on: it keeps
-- them in a table of the listening socket in 0.12, of the TLS context in 13.
local function take_any_name()
	for _, _, _, _, active in portmanager.get_active_services():iter("megaphone", nil, nil, nil) do
		local listening = active.server;
		listening.hosts = false;
		local context = listening.sslctx and listening:sslctx();
		if context then
			context._sni_contexts = setmetatable({}, { __newindex = function () end });
		end
	end
end

take_any_name();
module:hook("config-reloaded", take_any_name, -2); -- after portmanager has made new contexts

--- Stopping: mod_smacks (at -90) and mod_c2s (at -100) end the streams, and mod_c2s waits until that is done.

local stopped; -- to be called when the last socket is gone

function listener.ondisconnect(conn, err)
	local socket = sockets[conn];
	if socket then
		sockets[conn] = nil;
		socket:gone(err);
	end
	if stopped and next(sockets) == nil then
		stopped();
	end
end

local function end_links()
	local all = {};
	for _, link in pairs(links) do
		all[#all + 1] = link;
	end
	for i = 1, #all do
		all[i]:flush_all();
		all[i]:finish("system shutdown", "system-shutdown", "");
	end
end

module:hook("server-stopping", function ()
	for _, link in pairs(links) do
		link:drain();
	end
	for _, service in pairs(module.items["net-provider"]) do
		portmanager.unregister_service(service.name, service);
	end
end);

-- Prosody 13 leaves its loop without writing what sockets still hold, so wait for them. Not at once: we may have been
-- called from the end of a stream, in the middle of gathering a write.
module:hook("server-stopping", function ()
	if not async.ready() then
		return end_links();
	end
	local wait, done = async.waiter(1, true);
	stopped = done;
	add_task(0, function ()
		end_links();
		if next(sockets) == nil then done(); end
	end);
	local limit = add_task(STOPPING_SECONDS, done);
	wait();
	stop_task(limit);
end, -110);

function module.unload()
	end_links();
	for conn in pairs(sockets) do
		conn:close();
	end
	if ticking then
		stop_task(ticking);
	end
end

--- The shell: megaphone:links() and megaphone:streams()

list.provide(links);
