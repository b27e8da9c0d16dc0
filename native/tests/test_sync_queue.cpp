#include <algorithm>
#include <map>
#include <utility>

#include "io/sync_queue.hpp"
#include "tests/check.hpp"

using namespace hushwire::io;

namespace {

using Queue = SyncQueue<int>;

}  // namespace

TEST("each file has its turn every 4 s, none waits longer than 4.2 s, and few have it together") {
    Queue queue;
    std::vector<std::shared_ptr<int>> files;
    std::map<int, std::int64_t> last_us;
    std::int64_t now_us = 0, worst_us = 0;
    std::size_t most = 0, turns = 0;
    auto add = [&] {
        files.push_back(std::make_shared<int>(static_cast<int>(files.size())));
        queue.add(files.back(), now_us);
        last_us[*files.back()] = now_us;
    };
    for (; now_us < 40'000'000; now_us += 1'000) {
        if (files.size() < 500 && now_us % 8'000 == 0) add();
        if (now_us >= 20'000'000 && files.size() > 250) {  // half of them end
            last_us.erase(*files.back());
            files.pop_back();
        }
        if (queue.due_us().value_or(now_us + 1) > now_us) continue;
        auto taken = queue.take(now_us);
        most = std::max(most, taken.size());
        turns += taken.size();
        for (const auto& file : taken) {
            CHECK(last_us.contains(*file));
            auto waited_us = now_us - std::exchange(last_us[*file], now_us);
            CHECK(waited_us >= Queue::kPeriodUs);
            worst_us = std::max(worst_us, waited_us);
        }
    }
    for (const auto& [file, then_us] : last_us) worst_us = std::max(worst_us, now_us - then_us);
    CHECK(worst_us <= Queue::kPeriodUs + Queue::kGatherUs);
    CHECK(most <= 30 && turns > 2'500);
}

TEST("files that are gone leave the queue, and an empty one has nothing due") {
    Queue queue;
    CHECK(!queue.due_us() && queue.take(1).empty());
    auto file = std::make_shared<int>(1);
    queue.add(file, 0);
    CHECK(queue.due_us() == Queue::kPeriodUs + Queue::kGatherUs && queue.take(Queue::kPeriodUs - 1).empty());
    file.reset();
    CHECK(queue.take(Queue::kPeriodUs).empty() && queue.is_empty() && !queue.due_us());
}
