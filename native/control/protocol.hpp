// The control protocol (PROTOCOL.md): numbers, and frames to and from bytes. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "core/bytes.hpp"

namespace hushwire::control {

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::size_t kMaxFrame = 65'536, kMinFrame = 8, kLengthField = 4;

enum class FrameKind : std::uint8_t { request = 0, reply = 1, event = 2 };

enum class Op : std::uint16_t {
    hello = 1,
    ping = 2,
    ack = 3,
    open_bridge = 16,
    open_leg = 17,
    set_leg = 18,
    close_bridge = 19,
    get_bridge = 20,
    list_bridges = 21,
    reopen_leg = 24,
    get_ports = 25,
    start_recording = 32,
    pause_recording = 33,
    resume_recording = 34,
    stop_recording = 35,
    set_format = 36,
    dtls_send = 48,
    load_sound = 64,
    play = 65,
    stop_play = 66,
    send_digits = 67,
    detect_tones = 68,
    set_hears = 52,
    close_leg = 53,
    set_sensitive = 69,
    switch_recording = 70,
    set_recorded = 73,
    move_leg = 74,
    detect_speech = 79,
    is_beside = 82,
};

enum class EventType : std::uint16_t {
    recording_closed = 257,
    recording_failed = 258,
    media_timeout = 259,
    bridge_closed = 260,
    leg_source = 261,
    ice_selected = 263,
    consent_lost = 264,
    dtls_datagram = 265,  // transient
    play_ended = 266,
    digit = 267,
    leg_ports = 262,
    quality = 268,
    one_way_audio = 269,
};

enum class Status : std::uint16_t {
    ok = 0,
    malformed = 1,
    unsupported = 2,
    fenced = 3,
    not_found = 4,
    exists = 5,
    invalid = 6,
    state = 7,
    no_ports = 8,
    spool = 9,
    limit = 10,
    stopping = 11,
};

enum class Tag : std::uint16_t {
    status = 1,
    message = 2,
    epoch = 3,
    instance = 4,
    count = 5,
    program = 6,
    event = 7,
    bridge = 8,
    leg = 9,
    mode = 10,
    rtp_port = 11,
    rtcp_port = 12,
    local_ip = 13,
    ssrc = 14,
    remote_ip = 20,
    remote_port = 21,
    remote_rtcp_port = 22,
    rtcp_mux = 23,
    send_suite = 24,
    send_key = 25,
    recv_suite = 26,
    recv_key = 27,
    signalling_ip = 28,
    learn = 29,
    send = 30,
    receive = 31,
    payload_types = 32,
    media_timeout_ms = 33,
    clock_rate = 34,
    org = 40,
    recording = 41,
    segment = 42,
    data_key = 43,
    file = 44,
    anchor_us = 45,
    format = 46,
    frames = 50,
    bytes = 51,
    digest = 52,
    duration_ms = 53,
    recording_state = 54,
    gaps = 55,
    recording_result = 56,
    failure = 57,
    leg_stats = 60,
    reason = 61,
    bridge_entry = 62,
    more = 63,
    after = 64,
    packets_received = 70,
    bytes_received = 71,
    packets_sent = 72,
    bytes_sent = 73,
    lost = 74,
    jitter_us = 75,
    dropped_replay = 76,
    dropped_tag = 77,
    dropped_source = 78,
    dropped_malformed = 79,
    dropped_disabled = 80,
    dropped_unsent = 81,
    rtcp_received = 82,
    rtcp_sent = 83,
    silent_ms = 84,
    remote_lost = 85,
    ice_local_ufrag = 110,
    ice_local_password = 111,
    ice_remote_ufrag = 112,
    keying = 113,
    datagram = 114,
    stun_received = 115,
    stun_answered = 116,
    stun_refused = 117,
    stun_limited = 118,
    stun_repeated = 119,
    dropped_unchecked = 120,
    dropped_unkeyed = 121,
    dtls_received = 122,
    dtls_sent = 123,
    dtls_refused = 124,
    dtls_limited = 125,
    sound = 140,
    frame_samples = 141,
    total_bytes = 142,
    offset = 143,
    data = 144,
    is_whole = 145,
    unload = 146,
    playback = 147,
    payload_type = 148,
    times = 149,
    offset_ms = 150,
    interval_ms = 151,
    beep = 152,
    play_end = 153,
    sent_ms = 154,
    digits = 160,
    digit_ms = 161,
    gap_ms = 162,
    is_on = 163,
    heard_as = 164,
    codec = 130,
    ports = 100,
    is_shared = 101,
    cause = 102,
    shared_port = 103,
    packets = 104,
    strangers = 105,
    unproven = 106,
    over_budget = 107,
    dropped_budget = 108,
    dropped_rtcp_budget = 230,
    answered = 170,
    leg_quality = 171,
    round_trip_us = 172,
    loss_received = 173,
    loss_reported = 174,
    remote_jitter_us = 175,
    burst_ratio = 176,
    mos_received = 177,
    mos_heard = 178,
    round_trip_max_us = 179,
    jitter_max_us = 180,
    mos_received_worst = 181,
    mos_heard_worst = 182,
    silence_cause = 183,
    leg_state = 200,
    settings_digest = 201,
    source_ip = 202,
    source_port = 203,
    is_sensitive = 204,
    recorded = 220,
    to_bridge = 221,
    to_leg = 222,
    beside = 223,
    seal_lag_us = 240,
    speech_ms = 260,
    quiet_ms = 261,
    on_one_thread = 275,
    hears = 131,
    concealed_ms = 132,
    recovered_ms = 133,
    late = 134,
    playout_delay_us = 135,
};

struct Header {
    std::uint16_t opcode = 0;
    std::uint32_t id = 0;
};

/// A request's fields, checked against what its operation takes. The values point into the frame.
class Fields {
  public:
    struct Field {
        Tag tag;
        ConstBytes value;
    };
    explicit Fields(std::vector<Field> fields) : fields_(std::move(fields)) {}
    std::optional<ConstBytes> find(Tag tag) const;
    bool has(Tag tag) const { return find(tag).has_value(); }
    const std::vector<Field>& all() const { return fields_; }
    /// The value, or the default where the field is absent. Width and presence were checked by
    /// `parse_fields`.
    template <typename T>
    T integer(Tag tag, T absent = 0) const {
        auto value = find(tag);
        return value && value->size() == sizeof(T) ? load_be<T>(value->data()) : absent;
    }
    Uuid uuid(Tag tag) const;

  private:
    std::vector<Field> fields_;
};

struct Refusal {
    Status status = Status::malformed;
    std::string_view message;
};

/// What a stream of frames begins with.
struct Split {
    enum class Kind { more, frame, unreadable } kind = Kind::more;  ///< `more`: of it, not all is there yet
    ConstBytes frame;                                               ///< without its length field
};
Split split(ConstBytes stream);

/// The header of a frame (without its length field), or nothing where it is too short or of another version
/// or kind.
std::optional<Header> parse_request_header(ConstBytes frame);

/// Every field of the request: known to the operation, of the right width, not repeated, none missing.
std::variant<Fields, Refusal> parse_fields(ConstBytes frame, Op op);

/// Builds a frame, or the inside of a nested field.
class FrameWriter {
  public:
    FrameWriter() = default;  ///< nested: fields only
    FrameWriter(FrameKind kind, std::uint16_t opcode, std::uint32_t id);

    FrameWriter& put(Tag tag, ConstBytes value);
    FrameWriter& put(Tag tag, std::string_view text) { return put(tag, as_bytes(text)); }
    FrameWriter& put(Tag tag, const FrameWriter& nested) { return put(tag, ConstBytes(nested.bytes_)); }
    template <std::unsigned_integral T>
    FrameWriter& put(Tag tag, T value) {
        std::array<std::byte, sizeof(T)> raw;
        store_be(raw.data(), value);
        return put(tag, ConstBytes(raw));
    }
    std::size_t size() const { return bytes_.size(); }
    /// The whole frame with its length.
    std::vector<std::byte> finish() &&;

  private:
    std::vector<std::byte> bytes_;
};

/// A reply that says no.
std::vector<std::byte> refuse(const Header& to, const Refusal& refusal);

}  // namespace hushwire::control
