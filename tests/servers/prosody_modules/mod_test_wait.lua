-- For tests: answers <iq><wait xmlns='urn:test:wait' seconds='…'/></iq> after that time, with the session's runner waiting.

local async = require "util.async";
local add_task = require "util.timer".add_task;
local st = require "util.stanza";

module:hook("iq-get/host/urn:test:wait:wait", function (event)
	local wait, done = async.waiter();
	add_task(tonumber(event.stanza.tags[1].attr.seconds), done);
	wait();
	event.origin.send(st.reply(event.stanza));
	return true;
end);
