#pragma once

// A Store in memory. The test says what fails; what was committed stays, whoever uses it comes and
// goes, as on a disk. It numbers records and trims by count and by key, as the real one does, and
// keeps the ids of what it trims.
//
// One thread at a time.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "io/store.h"

namespace ringcast::test {

class FakeStore final : public io::Store {
  public:
    struct Record {
        std::uint64_t offset = 0;
        Nanos wall_ns = 0;
        std::string client = {};
        std::string id = {};
        std::string key = {};
        std::string payload = {};
        io::StoreForm form = io::StoreForm::json;
    };
    struct Topic {
        std::uint64_t epoch = 0;
        std::uint64_t next = 1;
        std::uint64_t first = 1;
        std::vector<Record> records = {};
        std::vector<Record> hollow = {};  // without their payloads
    };

    // So many appends fail from now on.
    void fail(io::StoreFault fault, int times) {
        fault_ = fault;
        failures_ = times;
    }
    // Batches of more records than that are too much for the disk; 0: none is.
    void set_batch_max(std::size_t records) noexcept { batch_max_ = records; }
    [[nodiscard]] const std::map<std::string, Topic>& topics() const noexcept { return topics_; }
    [[nodiscard]] std::size_t appends() const noexcept { return appends_; }
    [[nodiscard]] std::size_t trims() const noexcept { return trims_; }

    [[nodiscard]] Result<Done> append(std::span<io::StoreRecord* const> batch) noexcept override {
        appends_++;
        const bool too_many = batch_max_ != 0 && batch.size() > batch_max_;
        if (failures_ > 0 || too_many) {
            if (failures_ > 0) failures_--;
            why_ = "fake.db: it fails";
            return io::store_error(too_many ? io::StoreFault::full : fault_);
        }
        for (io::StoreRecord* record : batch) {
            Topic& topic = topics_[std::string(record->topic)];
            topic.epoch = record->epoch;
            record->offset = topic.next++;
            if (record->finish != nullptr) {
                record->payload = record->finish(record->context, record->offset);
            }
            topic.records.push_back({.offset = record->offset,
                                     .wall_ns = record->wall_ns,
                                     .client = std::string(record->client),
                                     .id = std::string(record->id),
                                     .key = std::string(record->key),
                                     .payload = std::string(as_text(record->payload)),
                                     .form = record->form});
        }
        return Done{};
    }
    [[nodiscard]] Result<bool> trim(std::string_view name,
                                    const io::Keep& keep,
                                    Nanos /*wall_now*/) noexcept override {
        trims_++;
        const auto at = topics_.find(std::string(name));
        if (at == topics_.end()) return false;
        Topic& topic = at->second;
        if (topic.next - topic.first > keep.records) topic.first = topic.next - keep.records;
        std::map<std::string, std::uint64_t> latest;
        for (const Record& record : topic.records)
            latest[record.key] = record.offset;
        const auto goes = [&](const Record& record) {
            const bool stays = keep.keyed && record.form != io::StoreForm::deletion &&
                               latest[record.key] == record.offset;
            return record.offset < topic.first && !stays;
        };
        for (const Record& record : topic.records) {
            if (!goes(record) || record.client.empty() || record.id.empty()) continue;
            topic.hollow.push_back(record);
            topic.hollow.back().payload.clear();
        }
        std::erase_if(topic.records, goes);
        std::erase_if(topic.hollow,
                      [&](const Record& record) { return topic.next - record.offset > keep.ids; });
        return false;
    }
    [[nodiscard]] Result<Done> load_topics(io::StoreVisitor& visitor) noexcept override {
        for (const auto& [name, topic] : topics_) {
            visitor.topic(
                {.name = name, .epoch = topic.epoch, .next = topic.next, .first = topic.first});
        }
        return Done{};
    }
    [[nodiscard]] Result<Done> load_records(io::StoreVisitor& visitor) noexcept override {
        for (const auto& [name, topic] : topics_) {
            std::vector<const Record*> all;
            for (const Record& record : topic.hollow)
                all.push_back(&record);
            for (const Record& record : topic.records)
                all.push_back(&record);
            std::sort(all.begin(), all.end(), [](const Record* a, const Record* b) {
                return a->offset < b->offset;
            });
            const auto hollow = [&topic = topic](const Record* record) {
                return !topic.hollow.empty() && record >= &topic.hollow.front() &&
                       record <= &topic.hollow.back();
            };
            for (const Record* at : all) {
                const Record& record = *at;
                visitor.record({.topic = name,
                                .epoch = topic.epoch,
                                .offset = record.offset,
                                .wall_ns = record.wall_ns,
                                .client = record.client,
                                .id = record.id,
                                .key = record.key,
                                .payload = as_bytes(record.payload),
                                .form = record.form,
                                .hollow = hollow(at)});
            }
        }
        return Done{};
    }
    [[nodiscard]] const std::string& why() const noexcept override { return why_; }

  private:
    std::map<std::string, Topic> topics_;
    std::string why_;
    io::StoreFault fault_ = io::StoreFault::none;
    int failures_ = 0;
    std::size_t batch_max_ = 0;
    std::size_t appends_ = 0;
    std::size_t trims_ = 0;
};

}  // namespace ringcast::test
