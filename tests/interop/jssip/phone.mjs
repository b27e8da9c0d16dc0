// A phone made of JsSIP, driven by the tests: it speaks a tone of its own and says which tone it hears.
import JsSIP from 'jssip';

window.Phone = class {
  constructor({url, uri, password, hertz}) {
    this.events = [];
    this.context = new AudioContext({sampleRate: 48000});
    const sink = this.context.createMediaStreamDestination();
    const tone = new OscillatorNode(this.context, {frequency: hertz});
    tone.connect(new GainNode(this.context, {gain: 0.5})).connect(sink);
    tone.start();
    this.stream = sink.stream;
    this.analyser = new AnalyserNode(this.context, {fftSize: 32768, smoothingTimeConstant: 0});
    const socket = new JsSIP.WebSocketInterface(url);
    this.ua = new JsSIP.UA({sockets: [socket], uri, password, session_timers: false, register_expires: 120});
    for (const name of ['connected', 'disconnected', 'registered', 'unregistered', 'registrationFailed'])
      this.ua.on(name, data => this.note(name, data && data.response && data.response.status_code));
    this.ua.on('newRTCSession', ({originator, session}) => this.watch(originator, session));
    this.ua.start();
  }
  note(name, detail) { this.events.push(detail === undefined ? name : `${name} ${detail}`); }
  watch(originator, session) {
    this.session = session;
    this.note('session', originator);
    for (const name of ['progress', 'accepted', 'confirmed', 'hold', 'unhold'])
      session.on(name, data => this.note(name, data && data.originator));
    for (const name of ['ended', 'failed'])
      session.on(name, data => this.note(name, `${data.originator} ${data.cause}`));
    if (session.connection) this.listen(session.connection);
    else session.on('peerconnection', ({peerconnection}) => this.listen(peerconnection));
  }
  listen(connection) {
    connection.addEventListener('track', event => {
      const stream = event.streams[0] || new MediaStream([event.track]);
      // Chromium gives a remote track to WebAudio only where an element plays it too.
      this.element = new Audio();
      this.element.srcObject = stream;
      this.element.muted = true;
      this.element.play();
      this.context.createMediaStreamSource(stream).connect(this.analyser);
    });
  }
  call(target) { this.ua.call(target, {mediaStream: this.stream, pcConfig: {iceServers: []}}); }
  answer() { this.session.answer({mediaStream: this.stream, pcConfig: {iceServers: []}}); }
  hangUp() { this.session.terminate(); }
  hold() { return new Promise(done => this.session.hold({}, done)); }
  unhold() { return new Promise(done => this.session.unhold({}, done)); }
  drop() { this.ua._transport.socket._ws.close(); }
  stop() { this.ua.stop(); }
  loudest() {
    const bins = new Float32Array(this.analyser.frequencyBinCount);
    this.analyser.getFloatFrequencyData(bins);
    let best = 1;
    for (let i = 1; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
    return bins[best] < -60 ? 0 : best * this.context.sampleRate / this.analyser.fftSize;
  }
};
