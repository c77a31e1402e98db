-- One client's stream on a link, as the connection object that mod_c2s and the modules around it expect of net.server.
--
-- From the client: PUT_DATA is given to c2s.onincoming at once; while the stream is paused (the async runner, mod_limits)
-- it is held, at most a window of it, and no credit goes out. To the client: what is written waits in `out` and `more`
-- until the link takes a frame of it, when the edge's credit allows; above the queue limit the client is a slow consumer.
--
--   open ──close()──► closing ──written out, or too slow──► ended      both sides have then said SHUTDOWN, or the link
--     └──SHUTDOWN from the edge, slow consumer, end of the link───┘    remembers the id until the edge has too
--
-- mod_smacks moves a session to another connection by replacing the upvalue `conn` of session.rawsend, so `write` has to
-- be one function for all streams that knows nothing but its `self`.

local frames = module:require "frames";
local settings = module:require "options";
local c2s = require "core.portmanager".get_service("c2s").listener;

local ntop = require "util.net".ntop;
local add_task = require "util.timer".add_task;
local stop_task = require "util.timer".stop;
local monotonic = require "util.time".monotonic;
local realtime = require "util.time".now;

local pack, sub, concat, min = string.pack, string.sub, table.concat, math.min;
local pairs, setmetatable, xpcall, traceback = pairs, setmetatable, xpcall, debug.traceback;

local HEADER, SEND_DATA, GET_DATA, DATA_BYTES = frames.HEADER, frames.SEND_DATA, frames.GET_DATA, frames.DATA_BYTES;
local THROTTLED_READ_BYTES = 4096; -- what a limited stream is given at once, as net.server reads from a socket
local LEAST_PAUSE_SECONDS = 0.001;
local HELD_PIECES = 64; -- more are joined, so that many tiny frames do not cost a table slot each
local LINGER_SECONDS = 15; -- how long a closed stream waits for a client that does not read, or that is paused
local WINDOW_BYTES, QUEUE_BYTES = settings.window_bytes, settings.queue_bytes;

local TLS_NAMES = { [0x0301] = "TLSv1", [0x0302] = "TLSv1.1", [0x0303] = "TLSv1.2", [0x0304] = "TLSv1.3" };

-- What every stream starts with; a stream's own table holds only what differs.
local stream = {
	sent = 0, received = 0, taken = 0, granted = WINDOW_BYTES, pending_bytes = 0;
	paused = false, throttled = false, write_locked = false, is_ready = false;
	closing = false, ended = false, said_shutdown = false, heard_shutdown = false, overflowed = false;
};
for name, method in pairs(module:require "connection") do
	stream[name] = method;
end
local stream_mt = { __index = stream };

function stream_mt:__tostring()
	return ("megaphone stream %d (%s, %d)"):format(self.stream_id, self.peername, self.peerport);
end

-- `opened` is what frames.read_open returns.
local function new(link, id, opened)
	local bindings = link:agreed(frames.FEATURE_BINDINGS);
	local tls = opened.tls_version;
	return setmetatable({
		link = link, stream_id = id;
		limit = link.edge_window, heard = monotonic(), created = realtime();
		peername = ntop(opened.client_address), peerport = opened.client_port;
		sockname = ntop(opened.local_address), sockport = opened.local_port;
		protocol = tls ~= 0 and (TLS_NAMES[tls] or ("TLS 0x%04x"):format(tls)) or nil;
		cipher = opened.cipher, server_name = opened.server_name, alpn = opened.alpn;
		tls_unique = bindings and opened.tls_unique or nil;
		tls_exporter = bindings and opened.tls_exporter or nil;
	}, stream_mt);
end

-- Calls a listener of mod_c2s; one stream's error is its own and ends no one else's.
function stream:tell(listener, ...)
	local call = c2s[listener];
	if not call then return; end
	local ok, result = xpcall(call, traceback, self, ...);
	if ok then return result; end
	self.link.log("error", "Stream %d of %s: error in %s: %s", self.stream_id, self.peername, listener, result);
	if listener ~= "ondisconnect" then
		self:finish("internal-error", "", "internal error");
	end
end

--- From the client

local function give(self, data)
	local seconds_per_byte = self.seconds_per_byte;
	self.taken = self.taken + #data;
	self:tell("onincoming", data);
	if seconds_per_byte and not self.ended then
		local seconds = #data * seconds_per_byte;
		if seconds > LEAST_PAUSE_SECONDS then
			self.throttled = add_task(seconds, function ()
				self.throttled = false;
				self.link:settle_later(self);
			end);
		end
	end
end

local function hold(self, data)
	local held = self.held;
	if not held then
		self.held = { first = 1, last = 1; data };
		return;
	end
	if held.last - held.first >= HELD_PIECES then
		data = concat(held, "", held.first, held.last) .. data;
		held = { first = 1, last = 0 };
		self.held = held;
	end
	held.last = held.last + 1;
	held[held.last] = data;
end

-- Gives c2s what is held until it is paused again.
local function give_held(self)
	local held = self.held;
	while held and not (self.paused or self.throttled or self.closing or self.ended) do
		local data = held[held.first];
		if self.seconds_per_byte and #data > THROTTLED_READ_BYTES then
			held[held.first] = sub(data, THROTTLED_READ_BYTES + 1);
			data = sub(data, 1, THROTTLED_READ_BYTES);
		elseif held.first == held.last then
			self.held = nil;
		else
			held[held.first] = nil;
			held.first = held.first + 1;
		end
		give(self, data);
		held = self.held;
	end
end

-- Credit for what has been taken, once it is half a window.
local function grant(self)
	local limit = self.taken + WINDOW_BYTES;
	if limit - self.granted >= WINDOW_BYTES // 2 and not self.said_shutdown then
		self.granted = limit;
		self.link:say(pack(">I1I3I4I8", GET_DATA, 8, self.stream_id, limit));
	end
end

-- PUT_DATA has come; the link has checked it against the credit.
function stream:take(data)
	self.received = self.received + #data;
	if self.closing or self.ended then
		return; -- as a socket that is not read any more
	end
	if self.paused or self.throttled or self.held or (self.seconds_per_byte and #data > THROTTLED_READ_BYTES) then
		hold(self, data);
		give_held(self);
	else
		give(self, data);
	end
	self.heard = monotonic();
	grant(self);
end

-- What had to wait for the end of whatever called us; the link calls this once a turn.
function stream:settle()
	if self.overflowed then
		self:finish("slow-consumer", "", "slow consumer");
	end
	give_held(self);
	grant(self);
	if self.heard_shutdown and not self.held then
		self:finish("closed", "", self.lost);
	end
end

--- To the client

function stream:write(data)
	if self.ended or self.closing or self.said_shutdown then
		return nil, "closed";
	end
	local bytes = self.pending_bytes + #data;
	if bytes > QUEUE_BYTES then
		self.overflowed = true;
		self.link:settle_later(self);
		return nil, "slow consumer";
	end
	self.pending_bytes = bytes;
	local more = self.more;
	if more then
		more[#more + 1] = data;
	else
		self.more = { data };
	end
	self.link:ready(self);
	return #data;
end
stream.send = stream.write;

-- Whether the link may take a frame (or, when all is written, the end) of this stream now.
function stream:has_turn()
	if self.said_shutdown or self.write_locked then return false; end
	if self.pending_bytes > 0 then
		return self.limit > self.sent;
	end
	return self.closing;
end

-- The next frame as header and data; `drained` says that nothing is left. Call it only when has_turn() and bytes wait.
function stream:next_frame()
	local out, at = self.out, self.out_at;
	if not out then
		if not self.closing then
			self:tell("onpredrain");
			if self.pending_bytes == 0 then return; end -- it has ended
		end
		local more = self.more;
		out, at = more[2] and concat(more) or more[1], 1;
		self.more = nil;
	end
	local left = #out - at + 1;
	local bytes = min(left, self.limit - self.sent, DATA_BYTES);
	local data = out;
	if bytes < #out then
		data = sub(out, at, at + bytes - 1);
	end
	if bytes < left then
		self.out, self.out_at = out, at + bytes;
	else
		self.out, self.out_at = nil, nil;
	end
	self.sent = self.sent + bytes;
	self.pending_bytes = self.pending_bytes - bytes;
	return pack(HEADER, SEND_DATA, bytes, self.stream_id), data, self.pending_bytes == 0;
end

-- GET_DATA has come; what is wrong with it, nil if nothing.
function stream:credit(limit)
	if limit < self.limit or limit > self.sent + self.link.edge_window then
		return ("GET_DATA: limit %d on stream %d after %d and %d bytes sent"):format(limit, self.stream_id, self.limit, self.sent);
	end
	self.limit = limit;
	self.link:ready(self);
end

--- The end

-- Ends the stream now: says SHUTDOWN if that is still to be said, and tells c2s, once. `err` goes into Prosody's log.
function stream:finish(reason, text, err)
	self.out, self.out_at, self.more, self.held, self.pending_bytes = nil, nil, nil, nil, 0;
	self.link:forget_lingering(self);
	if not self.said_shutdown then
		self.said_shutdown = true;
		self.link:say(frames.shutdown(self.stream_id, self.sent, reason, text));
	end
	if self.throttled then
		stop_task(self.throttled);
		self.throttled = false;
	end
	if not self.ended then
		self.ended = true;
		self:tell("ondisconnect", err);
	end
end

-- As net.server does: what was written goes out first.
function stream:close()
	if self.closing or self.ended then return; end
	self.closing, self.write_locked, self.held = true, false, nil;
	if self.pending_bytes > 0 and not self.said_shutdown then
		self.link:linger(self, LINGER_SECONDS);
		self.link:ready(self);
	else
		self:finish(self.link.closing_as, "", self.lost);
	end
end

-- The edge has said SHUTDOWN. What the client sent before and is still held is given to c2s when it is not paused any more.
function stream:edge_closed(lost)
	self.heard_shutdown, self.lost = true, lost;
	self.out, self.out_at, self.more, self.pending_bytes = nil, nil, nil, 0;
	if not self.said_shutdown then
		self.said_shutdown = true;
		self.link:say(frames.shutdown(self.stream_id, self.sent, "closed", ""));
	end
	if not (self.held and self.link:linger(self, LINGER_SECONDS)) then
		self:finish("closed", "", lost);
	end
end

-- A closed stream has waited long enough.
function stream:linger_over()
	self:finish(self.heard_shutdown and "closed" or "slow-consumer", "", self.lost or "slow consumer");
end

-- Nothing was heard from the client for read_timeout: mod_smacks asks it for an acknowledgement, mod_c2s sends a space.
function stream:read_timeout(now)
	if self:tell("onreadtimeout") then
		self.heard = now;
	else
		self:finish("connection-timeout", "", "read timeout");
	end
end

return { new = new };
