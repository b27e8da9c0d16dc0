// The control protocol: a stream of frames as a connection delivers it, every field of every operation, and
// the settings of a leg made of them.
#include "control/leg_fields.hpp"
#include "fuzz/fuzz.hpp"

using namespace hushwire;
using namespace hushwire::control;

namespace {

void fields(Op op, const Fields& fields) {
    for (const auto& field : fields.all()) CLAIM(fields.has(field.tag));
    if (op == Op::set_leg) {
        for (bool is_v4 : {true, false}) {
            auto settings = leg_settings(fields, is_v4);
            if (auto* made = std::get_if<LegSettings>(&settings)) {
                CLAIM(made->send_key.has_value() == made->recv_key.has_value());
                if (made->send_key)
                    CLAIM(made->send_key->has_right_size() && made->recv_key->has_right_size());
                for (auto type : made->payload_types) CLAIM(type < 128);
            } else {
                CLAIM(std::get<Refusal>(settings).status != Status::ok);
            }
        }
    }
    if (auto file = fields.find(Tag::file)) {
        std::string_view name(reinterpret_cast<const char*>(file->data()), file->size());
        if (is_spool_name(name))
            CLAIM(name.find('/') == name.npos && name.find('\0') == name.npos && name[0] != '.');
    }
}

void frame(ConstBytes bytes) {
    auto copy = fuzz::exact(bytes);
    auto header = parse_request_header(copy);
    if (!header) return;
    auto parsed = parse_fields(copy, Op{header->opcode});
    if (auto* refusal = std::get_if<Refusal>(&parsed)) {
        auto reply = refuse(*header, *refusal);
        // Our own frames can be read back.
        CLAIM(load_be32(reply.data()) == reply.size() - kLengthField && !refusal->message.empty());
        return;
    }
    fields(Op{header->opcode}, std::get<Fields>(parsed));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    auto stream = fuzz::exact(std::as_bytes(std::span(data, size)));
    ConstBytes rest = stream;
    for (;;) {
        auto next = split(rest);
        if (next.kind != Split::Kind::frame) return 0;
        CLAIM(next.frame.size() >= kMinFrame && next.frame.size() <= kMaxFrame);
        CLAIM(next.frame.data() + next.frame.size() <= rest.data() + rest.size());
        frame(next.frame);
        rest = rest.subspan(kLengthField + next.frame.size());
    }
}
