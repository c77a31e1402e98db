-- What leaves on a link: frames are gathered during a turn of the loop and leave in one write, and are kept until the edge
-- has acknowledged them.
--
-- The link's own frames go first, then one frame of each stream that has something, in turn. The next write waits until the
-- socket has taken this one, so that a stream that becomes ready waits for BATCH_BYTES and not for all that others have
-- queued.

local frames = module:require "frames";

local add_task = require "util.timer".add_task;

local concat = table.concat;
local next, pairs, xpcall, traceback = next, pairs, xpcall, debug.traceback;

local BATCH_BYTES = 131072; -- one write: enough for 8 full frames
local KEPT_BYTES = 4194304; -- at this much without acknowledgement no stream's data is taken
local KEPT_MOST_BYTES = 2 * KEPT_BYTES; -- the link's own frames may go on to here, which a peer that acknowledges never sees

local FRAME_MOST_BYTES = frames.HEADER_BYTES + frames.DATA_BYTES;

local link = {};

-- Gather the bytes of a whole frame for the next write.
function link:say(bytes)
	if self.ended then return; end
	self.own[#self.own + 1] = bytes;
	self.own_bytes = self.own_bytes + #bytes;
	if self.own_bytes > KEPT_MOST_BYTES then
		self:fail("protocol-error", ("%d bytes wait to be read"):format(self.own_bytes));
	end
	self:wake();
end

function link:ready(stream)
	if stream.is_ready or self.ended or not stream:has_turn() then return; end
	stream.is_ready = true;
	local turn_of = self.turn_of;
	turn_of.last = turn_of.last + 1;
	turn_of[turn_of.last] = stream;
	self:wake();
end

function link:settle_later(stream)
	self.settling[stream] = true;
	self:wake();
end

-- Have a turn when whatever runs now is done.
function link:wake()
	if self.in_turn or self.woken or self.ended then return; end
	self.woken = true;
	local turn = self.woken_turn;
	if not turn then
		function turn()
			self.woken = false;
			self:turn();
		end
		self.woken_turn = turn; -- one closure for the life of the link
	end
	add_task(0, turn);
end

function link:turn()
	if self.in_turn or self.ended then return; end
	self.in_turn = true;
	local ok, problem = xpcall(self.settle_and_flush, traceback, self);
	self.in_turn = false;
	if not ok then
		self:fail("internal-error", "", problem);
	elseif self:may_write() or next(self.settling) then
		self:wake();
	end
end

-- How many bytes of frames with data may be gathered now, so that no more than KEPT_BYTES are kept.
function link:room()
	return KEPT_BYTES - (self.sent - self.acknowledged) - self.own_bytes;
end

-- Whether something waits that flush() would write.
function link:may_write()
	if not self.conn or self.unsent then return false; end
	return self.own[1] or (self.turn_of.first <= self.turn_of.last and self:room() >= FRAME_MOST_BYTES);
end

function link:settle_and_flush()
	while next(self.settling) do
		local settling = self.settling;
		self.settling = {};
		for stream in pairs(settling) do
			stream:settle();
		end
	end
	self:flush();
end

function link:flush()
	if not self.conn or self.unsent or self.flushing then return; end
	self.flushing = true; -- what streams do when they are told something must not write before what is gathered here
	local batch, bytes, room = self.own, self.own_bytes, self:room();
	self.own, self.own_bytes = {}, 0;
	local drained;
	local turn_of = self.turn_of;
	while bytes < BATCH_BYTES and room >= FRAME_MOST_BYTES and turn_of.first <= turn_of.last do
		local stream = turn_of[turn_of.first];
		turn_of[turn_of.first] = nil;
		turn_of.first = turn_of.first + 1;
		stream.is_ready = false;
		if stream:has_turn() then
			local header, data, empty;
			if stream.pending_bytes > 0 then
				header, data, empty = stream:next_frame();
			end
			if header then
				batch[#batch + 1] = header;
				batch[#batch + 1] = data;
				bytes = bytes + frames.HEADER_BYTES + #data;
				room = room - frames.HEADER_BYTES - #data;
			end
			if stream.closing and stream.pending_bytes == 0 and not stream.ended then
				stream:finish(self.closing_as, "", stream.lost);
			elseif empty then
				drained = drained or {};
				drained[#drained + 1] = stream;
			end
			self:ready(stream);
		end
	end
	if turn_of.first > turn_of.last then
		turn_of.first, turn_of.last = 1, 0;
	end
	if bytes > 0 and self.conn then
		self:keep_and_write(concat(batch));
	end
	self.flushing = false;
	if drained then
		for i = 1, #drained do
			local stream = drained[i];
			if not stream.ended and stream.pending_bytes == 0 then
				stream:tell("ondrain");
			end
		end
	end
end

function link:keep_and_write(data)
	local kept = self.kept;
	kept.last = kept.last + 1;
	kept[kept.last] = data;
	self.sent = self.sent + #data;
	if self.sent - self.acknowledged > KEPT_MOST_BYTES then
		return self:fail("protocol-error", ("%d bytes without acknowledgement"):format(self.sent - self.acknowledged));
	end
	self.unsent = true;
	self.conn:write(data);
end

-- The socket has taken the last write.
function link:drained()
	self.unsent = false;
	self:turn();
end

-- The edge has received so much. A smaller count than before is an old frame sent again after re-attaching.
function link:acknowledge(count)
	if count < 0 or count > self.sent then
		return ("%d bytes acknowledged of %d sent"):format(count, self.sent);
	elseif count > self.acknowledged then
		self.acknowledged = count;
		local kept = self.kept;
		while kept.first <= kept.last and kept.at + #kept[kept.first] <= count do
			kept.at = kept.at + #kept[kept.first];
			kept[kept.first] = nil;
			kept.first = kept.first + 1;
		end
		if kept.first > kept.last then
			kept.first, kept.last = 1, 0;
		end
	end
end

-- Write all that may be written, however slow the socket is; for an orderly end.
function link:flush_all()
	if self.flushing then return; end
	self.unsent = false;
	while self:may_write() do
		self:flush();
		self.unsent = false;
	end
end

return link;
