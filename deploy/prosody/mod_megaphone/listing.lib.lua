-- The commands of the admin shell: megaphone:links() and megaphone:streams().

local ROW = "%-24s %-8s %-9s %5s %8s %14s %14s %10s %9s";
local STREAM_ROW = "%-10s %-39s %5s %-8s %12s %12s %10s  %s";

local function milliseconds(seconds)
	return seconds and ("%.1f ms"):format(seconds * 1000) or "-";
end

local function state(link)
	if not link.conn then
		return "waiting";
	end
	return (link.draining or link.edge_draining) and "draining" or "attached";
end

local function by_name(links)
	local all = {};
	for _, link in pairs(links) do
		all[#all + 1] = link;
	end
	table.sort(all, function (a, b)
		if a.name == b.name then return a.session < b.session; end
		return a.name < b.name;
	end);
	return all;
end

local function session_id(link)
	return (link.session:sub(1, 4):gsub(".", function (byte) return ("%02x"):format(byte:byte()); end));
end

local function show_links(print, links)
	print(ROW:format("Name", "Session", "State", "Epoch", "Streams", "Bytes in", "Bytes out", "Unacked", "Ping"));
	local count, streams = 0, 0;
	for _, link in ipairs(by_name(links)) do
		count, streams = count + 1, streams + link.stream_count;
		print(ROW:format(link.name:gsub("%c", "?"):sub(1, 24), session_id(link), state(link), link.epoch, link.stream_count,
			link.received, link.sent, link.sent - link.acknowledged, milliseconds(link.round_trip_seconds)));
	end
	return true, ("%d links, %d streams"):format(count, streams);
end

local function show_streams(print, links, name)
	local c2s_sessions = module:shared("/*/c2s/sessions");
	local count = 0;
	print(STREAM_ROW:format("Stream", "Address", "Port", "TLS", "Bytes in", "Bytes out", "Queued", "JID"));
	for _, link in ipairs(by_name(links)) do
		if name == nil or name == link.name then
			print(("%s %s"):format(link.name:gsub("%c", "?"), session_id(link)));
			local ids = {};
			for id in pairs(link.streams) do
				ids[#ids + 1] = id;
			end
			table.sort(ids);
			for _, id in ipairs(ids) do
				local stream = link.streams[id];
				local session = c2s_sessions[stream];
				print(STREAM_ROW:format(id, stream.peername, stream.peerport, stream.protocol or "none", stream.received,
					stream.sent, stream.pending_bytes, stream.ended and "(ended)" or session and session.full_jid or "-"));
			end
			count = count + #ids;
		end
	end
	return true, ("%d streams"):format(count);
end

-- The 0.12 shell looks its sections up in a shared table; the 13 shell also takes items and lists them in `help`.
local function provide(links)
	local section = {};
	function section:links()
		return show_links(self.session.print, links);
	end
	function section:streams(name)
		return show_streams(self.session.print, links, name);
	end
	local shell = module:shared("/*/admin_shell/env");
	shell.megaphone = section;
	local function command(name, description, args)
		module:add_item("shell-command", {
			section = "megaphone", section_desc = "Links of the Megaphone edge";
			name = name, desc = description, args = args, handler = section[name];
		});
	end
	command("links", "List the links", {});
	command("streams", "List the streams of all links, or of those with a name", { { name = "name", type = "string" } });
end

return { provide = provide };
