// A message centre of npm's `smpp` package, driven by JSON lines on stdin; what happens to it comes as JSON lines on stdout.
//
//   node smsc.cjs '{"users": {"esme": "secret"}, "tls": {"key": FILE, "cert": FILE}, "policy": {...}}'
//
// policy: answer   ok | none | a status as a number, for messages whose turn it is; `every` n: only each n-th one
//         drop_at  the connection is destroyed before the answer to the n-th message
//         receipt  none | text | tlv | both | early (before the answer) | only_early; receipts as the forms say
//         response_form, receipt_form   hex | HEX | decimal | padded | text
//         stat     what receipts say;  quiet  no line for each message (for load; ask for a report)
'use strict';
const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

const given = JSON.parse(process.argv[2] || '{}');
let policy = { answer: 'ok', every: 1, receipt: 'none', response_form: 'decimal', receipt_form: 'decimal', stat: 'DELIVRD', ...given.policy };
let ids = given.first_id || 1000;
let messages = 0;
const taken = new Map(); // destination -> how often it was accepted
let acknowledged = 0;
let refusedDeliveries = 0;
const sessions = new Set();

function tell(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function written(id, form) {
  switch (form) {
    case 'hex': return id.toString(16);
    case 'HEX': return id.toString(16).toUpperCase();
    case 'padded': return String(id).padStart(10, '0');
    case 'text': return `Msg-${id}`;
    case 'TEXT': return `MSG-${id}`;
    default: return String(id);
  }
}

function receipt(id, pdu, form) {
  const named = written(id, policy.receipt_form);
  const out = {
    source_addr_ton: pdu.dest_addr_ton, source_addr_npi: pdu.dest_addr_npi, source_addr: pdu.destination_addr,
    dest_addr_ton: pdu.source_addr_ton, dest_addr_npi: pdu.source_addr_npi, destination_addr: pdu.source_addr,
    esm_class: 4,
  };
  if (form !== 'tlv') {
    out.short_message = `id:${named} sub:001 dlvrd:001 submit date:2611260801 done date:2611260802 stat:${policy.stat} err:000 text:`;
  }
  if (form !== 'text') {
    out.receipted_message_id = named;
    out.message_state = { DELIVRD: 2, EXPIRED: 3, UNDELIV: 5 }[policy.stat];
  }
  return out;
}

// As a centre does, what nobody has acknowledged is kept and comes again to the next one that binds.
const kept = [];

function deliver(fields, done) {
  const receivers = [...sessions].filter((session) => session.mode !== 'transmitter');
  if (!receivers.length) {
    kept.push([fields, done]);
    return false;
  }
  const session = receivers[fields.destination_addr ? fields.destination_addr.length % receivers.length : 0];
  const open = { fields, done };
  session.open.add(open);
  session.deliver_sm(fields, (answer) => {
    session.open.delete(open);
    if (answer.command_status) refusedDeliveries += 1; else acknowledged += 1;
    if (!policy.quiet) tell('delivered', { status: answer.command_status, sequence: answer.sequence_number });
    if (done) done(answer.command_status);
  });
  return true;
}

function again() {
  for (const [fields, done] of kept.splice(0)) deliver(fields, done);
}

function submitted(session, pdu) {
  if (session.isDropped) return; // came with what was read before: never taken
  messages += 1;
  const number = messages;
  const text = pdu.short_message;
  if (!policy.quiet) {
    const payload = pdu.message_payload;
    tell('submit', {
      from: pdu.source_addr, from_ton: pdu.source_addr_ton, to: pdu.destination_addr, coding: pdu.data_coding, esm: pdu.esm_class,
      text: text && text.message, udh: text && text.udh ? text.udh.map((element) => element.toString('hex')) : null,
      payload: payload ? (payload.message || payload) : null, receipt: pdu.registered_delivery, validity: pdu.validity_period,
      sar: pdu.sar_segment_seqnum === undefined ? null : [pdu.sar_msg_ref_num, pdu.sar_total_segments, pdu.sar_segment_seqnum],
    });
  }
  if (policy.drop_at === number) {
    accept(pdu);
    session.isDropped = true;
    session.destroy();
    return;
  }
  if (policy.answer !== 'ok' && number % policy.every === 0) {
    if (policy.answer !== 'none') session.send(pdu.response({ command_status: policy.answer }));
    return;
  }
  const id = accept(pdu);
  const form = policy.receipt;
  if (form === 'early' || form === 'only_early') deliver(receipt(id, pdu, 'both'));
  if (form === 'only_early') return;
  const answer = () => session.send(pdu.response({ message_id: written(id, policy.response_form) }));
  if (form === 'early') setTimeout(answer, policy.delay_ms || 200);
  else if (policy.delay_ms) setTimeout(answer, policy.delay_ms);
  else answer();
  if (['text', 'tlv', 'both'].includes(form)) setTimeout(() => deliver(receipt(id, pdu, form)), policy.receipt_after_ms || 5);
}

function accept(pdu) {
  taken.set(pdu.destination_addr, (taken.get(pdu.destination_addr) || 0) + 1);
  return ids++;
}

const options = given.tls ? { key: fs.readFileSync(given.tls.key), cert: fs.readFileSync(given.tls.cert) } : {};
const server = smpp.createServer(options, (session) => {
  session.open = new Set();
  session.on('error', () => session.destroy());
  session.on('close', () => {
    sessions.delete(session);
    for (const open of session.open) kept.push([open.fields, open.done]);
    session.open.clear();
    tell('closed', {});
  });
  const bind = (mode) => (pdu) => {
    if (policy.deaf) return;
    const good = (given.users || { esme: 'secret' })[pdu.system_id] === pdu.password;
    tell('bind', { mode, user: pdu.system_id, good });
    if (!good) {
      session.send(pdu.response({ command_status: smpp.ESME_RINVPASWD }));
      return;
    }
    session.mode = mode;
    sessions.add(session);
    session.send(pdu.response({ system_id: 'smsc' }));
    if (mode !== 'transmitter') again();
  };
  session.on('bind_transceiver', bind('transceiver'));
  session.on('bind_transmitter', bind('transmitter'));
  session.on('bind_receiver', bind('receiver'));
  session.on('enquire_link', (pdu) => { if (!policy.deaf) session.send(pdu.response()); });
  session.on('unbind', (pdu) => { tell('unbind', {}); session.send(pdu.response()); session.close(); });
  session.on('submit_sm', (pdu) => { if (!policy.deaf) submitted(session, pdu); });
  session.on('unknown', (pdu) => tell('unknown', { id: pdu.command_id }));
});

const commands = {
  policy: (said) => { policy = { ...policy, ...said.policy }; },
  deliver: (said) => { if (!deliver(said.pdu)) tell('nobody', {}); },
  // `count` messages from numbers in a row, `window` at once; what is put off comes again.
  load: (said) => {
    let next = 0;
    const one = (number) => deliver({
      source_addr_ton: 1, source_addr_npi: 1, source_addr: String(said.first + number), dest_addr_ton: 1, destination_addr: said.to, short_message: said.text,
    }, (status) => {
      if (status) setTimeout(one, 100, number);
      else if (next < said.count) one(next++);
    });
    while (next < Math.min(said.window || 100, said.count)) one(next++);
  },
  raw: (said) => { for (const session of sessions) session.socket.write(Buffer.from(said.hex, 'hex')); },
  drop: () => { for (const session of sessions) session.destroy(); },
  unbind: () => { for (const session of sessions) session.unbind(() => session.close()); },
  report: () => tell('report', {
    messages, distinct: taken.size, doubled: [...taken.values()].filter((count) => count > 1).length, acknowledged, refused: refusedDeliveries,
    bound: sessions.size, memory: process.memoryUsage().rss,
  }),
  taken: () => tell('taken', { numbers: Object.fromEntries(taken) }),
};
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const said = JSON.parse(line);
  commands[said.do](said);
}).on('close', () => process.exit(0));

server.listen(given.port || 0, '127.0.0.1', () => tell('listening', { port: server.address().port }));
