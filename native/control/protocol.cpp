#include "control/protocol.hpp"

#include <algorithm>
#include <concepts>

namespace hushwire::control {
namespace {

struct FieldRule {
    Tag tag;
    std::uint16_t min, max;
    bool is_required = true;
    bool is_repeatable = false;
};

constexpr bool kOptional = false;

constexpr FieldRule kHello[] = {{Tag::epoch, 8, 8}};
constexpr FieldRule kAck[] = {{Tag::event, 4, 4, true, true}};
constexpr FieldRule kOpenBridge[] = {
    {Tag::bridge, 16, 16}, {Tag::mode, 1, 1}, {Tag::beside, 16, 16, kOptional}};
constexpr FieldRule kOpenLeg[] = {
    {Tag::bridge, 16, 16},
    {Tag::leg, 1, 1},
    {Tag::ports, 1, 1, kOptional},
    {Tag::signalling_ip, 4, 16, kOptional},
    {Tag::remote_ip, 4, 16, kOptional},
    {Tag::remote_port, 2, 2, kOptional},
};
constexpr FieldRule kOneLeg[] = {{Tag::bridge, 16, 16}, {Tag::leg, 1, 1}};
constexpr FieldRule kSetLeg[] = {
    {Tag::bridge, 16, 16},
    {Tag::leg, 1, 1},
    {Tag::remote_ip, 4, 16},
    {Tag::remote_port, 2, 2},
    {Tag::remote_rtcp_port, 2, 2, kOptional},
    {Tag::rtcp_mux, 1, 1, kOptional},
    {Tag::send_suite, 1, 1, kOptional},
    {Tag::send_key, 28, 46, kOptional},
    {Tag::recv_suite, 1, 1, kOptional},
    {Tag::recv_key, 28, 46, kOptional},
    {Tag::signalling_ip, 4, 16, kOptional},
    {Tag::learn, 1, 1, kOptional},
    {Tag::send, 1, 1, kOptional},
    {Tag::receive, 1, 1, kOptional},
    {Tag::payload_types, 0, 256, kOptional},
    {Tag::media_timeout_ms, 4, 4, kOptional},
    {Tag::clock_rate, 4, 4, kOptional},
    {Tag::ice_local_ufrag, 4, 256, kOptional},
    {Tag::ice_local_password, 22, 256, kOptional},
    {Tag::ice_remote_ufrag, 4, 256, kOptional},
    {Tag::keying, 1, 1, kOptional},
    {Tag::codec, 8, 8, kOptional, true},
    {Tag::answered, 1, 1, kOptional},
};
constexpr FieldRule kBridgeOnly[] = {{Tag::bridge, 16, 16}};
constexpr FieldRule kListBridges[] = {{Tag::after, 16, 16, kOptional}};
constexpr FieldRule kStartRecording[] = {
    {Tag::bridge, 16, 16},   {Tag::org, 16, 16},  {Tag::recording, 16, 16},          {Tag::segment, 4, 4},
    {Tag::data_key, 32, 32}, {Tag::file, 5, 128}, {Tag::anchor_us, 8, 8, kOptional}, {Tag::format, 2, 4096},
};
constexpr FieldRule kDtlsSend[] = {
    {Tag::bridge, 16, 16}, {Tag::leg, 1, 1}, {Tag::datagram, 1, 1500, true, true}};
constexpr FieldRule kSetFormat[] = {{Tag::bridge, 16, 16}, {Tag::format, 2, 4096}};
constexpr FieldRule kLoadSound[] = {
    {Tag::sound, 32, 32},
    {Tag::clock_rate, 4, 4, kOptional},
    {Tag::frame_samples, 4, 4, kOptional},
    {Tag::total_bytes, 4, 4, kOptional},
    {Tag::offset, 4, 4, kOptional},
    {Tag::data, 1, 65'000, kOptional},
    {Tag::unload, 1, 1, kOptional},
};
constexpr FieldRule kPlay[] = {
    {Tag::bridge, 16, 16},
    {Tag::leg, 1, 1},
    {Tag::sound, 32, 32},
    {Tag::playback, 4, 4},
    {Tag::payload_type, 1, 1},
    {Tag::times, 4, 4, kOptional},
    {Tag::offset_ms, 4, 4, kOptional},
    {Tag::interval_ms, 4, 4, kOptional},
    {Tag::beep, 1, 1, kOptional},
};
constexpr FieldRule kStopPlay[] = {{Tag::bridge, 16, 16}, {Tag::leg, 1, 1}, {Tag::playback, 4, 4, kOptional}};
constexpr FieldRule kSendDigits[] = {{Tag::bridge, 16, 16},
                                     {Tag::leg, 1, 1},
                                     {Tag::digits, 1, 64},
                                     {Tag::digit_ms, 2, 2, kOptional},
                                     {Tag::gap_ms, 2, 2, kOptional}};
constexpr FieldRule kDetectTones[] = {{Tag::bridge, 16, 16}, {Tag::leg, 1, 1}, {Tag::is_on, 1, 1}};
constexpr FieldRule kSetHears[] = {{Tag::bridge, 16, 16}, {Tag::leg, 1, 1}, {Tag::hears, 2, 2}};
constexpr FieldRule kSetRecorded[] = {{Tag::bridge, 16, 16}, {Tag::recorded, 2, 2}};
constexpr FieldRule kMoveLeg[] = {
    {Tag::bridge, 16, 16}, {Tag::leg, 1, 1}, {Tag::to_bridge, 16, 16}, {Tag::to_leg, 1, 1}};
constexpr FieldRule kIsBeside[] = {{Tag::bridge, 16, 16}, {Tag::to_bridge, 16, 16}};
constexpr FieldRule kSetSensitive[] = {{Tag::bridge, 16, 16}, {Tag::is_on, 1, 1}};

std::optional<std::span<const FieldRule>> rules(Op op) {
    switch (op) {
        case Op::hello: return kHello;
        case Op::ping:
        case Op::get_ports: return std::span<const FieldRule>();
        case Op::ack: return kAck;
        case Op::open_bridge: return kOpenBridge;
        case Op::open_leg: return kOpenLeg;
        case Op::set_leg: return kSetLeg;
        case Op::reopen_leg: return kOneLeg;
        case Op::close_bridge:
        case Op::get_bridge:
        case Op::pause_recording:
        case Op::resume_recording:
        case Op::stop_recording: return kBridgeOnly;
        case Op::list_bridges: return kListBridges;
        case Op::start_recording:
        case Op::switch_recording: return kStartRecording;
        case Op::set_format: return kSetFormat;
        case Op::dtls_send: return kDtlsSend;
        case Op::load_sound: return kLoadSound;
        case Op::play: return kPlay;
        case Op::stop_play: return kStopPlay;
        case Op::send_digits: return kSendDigits;
        case Op::detect_tones:
        case Op::detect_speech: return kDetectTones;
        case Op::set_hears: return kSetHears;
        case Op::close_leg: return kOneLeg;
        case Op::set_recorded: return kSetRecorded;
        case Op::move_leg: return kMoveLeg;
        case Op::is_beside: return kIsBeside;
        case Op::set_sensitive: return kSetSensitive;
    }
    return std::nullopt;
}

}  // namespace

std::optional<ConstBytes> Fields::find(Tag tag) const {
    for (const auto& field : fields_)
        if (field.tag == tag) return field.value;
    return std::nullopt;
}

Uuid Fields::uuid(Tag tag) const {
    Uuid id{};
    if (auto value = find(tag); value && value->size() == id.size())
        std::copy(value->begin(), value->end(), id.begin());
    return id;
}

Split split(ConstBytes stream) {
    if (stream.size() < kLengthField) return {};
    std::size_t length = load_be32(stream.data());
    if (length < kMinFrame || length > kMaxFrame) return {Split::Kind::unreadable, {}};
    if (stream.size() - kLengthField < length) return {};
    return {Split::Kind::frame, stream.subspan(kLengthField, length)};
}

std::optional<Header> parse_request_header(ConstBytes frame) {
    ByteReader reader(frame);
    auto version = reader.integer<std::uint8_t>();
    auto kind = reader.integer<std::uint8_t>();
    auto opcode = reader.integer<std::uint16_t>();
    auto id = reader.integer<std::uint32_t>();
    if (!id || version != kVersion || kind != static_cast<std::uint8_t>(FrameKind::request))
        return std::nullopt;
    return Header{*opcode, *id};
}

std::variant<Fields, Refusal> parse_fields(ConstBytes frame, Op op) {
    auto known = rules(op);
    if (!known) return Refusal{Status::unsupported, "unknown operation"};
    ByteReader reader(frame.subspan(kMinFrame));
    std::vector<Fields::Field> fields;
    while (reader.remaining()) {
        auto tag = reader.integer<std::uint16_t>();
        auto length = reader.integer<std::uint16_t>();
        auto value = length ? reader.take(*length) : std::nullopt;
        if (!value) return Refusal{Status::malformed, "a field is torn"};
        auto rule = std::ranges::find_if(*known, [&](const FieldRule& r) { return r.tag == Tag{*tag}; });
        if (rule == known->end())
            return Refusal{Status::invalid, "a field does not belong to this operation"};
        if (value->size() < rule->min || value->size() > rule->max)
            return Refusal{Status::invalid, "a field has the wrong length"};
        if (!rule->is_repeatable
            && std::ranges::any_of(fields, [&](const auto& f) { return f.tag == Tag{*tag}; }))
            return Refusal{Status::invalid, "a field stands twice"};
        fields.push_back({Tag{*tag}, *value});
    }
    Fields result(std::move(fields));
    for (const auto& rule : *known)
        if (rule.is_required && !result.has(rule.tag))
            return Refusal{Status::invalid, "a required field is missing"};
    return result;
}

FrameWriter::FrameWriter(FrameKind kind, std::uint16_t opcode, std::uint32_t id)
    : bytes_(kLengthField + kMinFrame) {
    bytes_[4] = std::byte{kVersion};
    bytes_[5] = static_cast<std::byte>(kind);
    store_be(bytes_.data() + 6, opcode);
    store_be(bytes_.data() + 8, id);
}

FrameWriter& FrameWriter::put(Tag tag, ConstBytes value) {
    auto at = bytes_.size();
    bytes_.resize(at + 4 + value.size());
    store_be(bytes_.data() + at, static_cast<std::uint16_t>(tag));
    store_be(bytes_.data() + at + 2, static_cast<std::uint16_t>(value.size()));
    std::copy(value.begin(), value.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(at + 4));
    return *this;
}

std::vector<std::byte> FrameWriter::finish() && {
    store_be(bytes_.data(), static_cast<std::uint32_t>(bytes_.size() - kLengthField));
    return std::move(bytes_);
}

std::vector<std::byte> refuse(const Header& to, const Refusal& refusal) {
    FrameWriter reply(FrameKind::reply, to.opcode, to.id);
    reply.put(Tag::status, static_cast<std::uint16_t>(refusal.status)).put(Tag::message, refusal.message);
    return std::move(reply).finish();
}

}  // namespace hushwire::control
