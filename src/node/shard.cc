#include "node/shard.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/plant.h"
#include "io/stint.h"

namespace ringcast::node {

namespace {

constexpr Nanos sweep_interval = nanos_per_s;
constexpr Nanos long_turn = 5 * nanos_per_ms;
constexpr Nanos late_max = nanos_per_s;
constexpr Nanos catch_up_max = 20 * long_turn;
constexpr Nanos late_min = 10 * long_turn;  // or a long turn of ours would be an absence
constexpr Nanos cpu_look_interval = nanos_per_ms / 2;
// With the reactor's callback_time and the pump's budget: a turn of at most 5 ms.
constexpr Nanos mail_time = nanos_per_ms / 2;  // for either kind
constexpr Nanos timer_time = nanos_per_ms / 2;
constexpr Nanos leave_time = nanos_per_ms / 4;  // twice a turn
constexpr std::uint32_t mail_per_turn = 4096;
constexpr std::uint32_t closes_per_turn = 4096;
// A publisher that has more to say says it within so long, and one that never ends holds up its own
// readers, and whoever else the pump serves, for no longer than that.
constexpr std::size_t shed_per_turn = 8 << 20;   // bytes of logs: half a millisecond
constexpr std::uint64_t report_step = 64 << 10;  // bytes; less is not worth a report
constexpr Nanos gather_pause = nanos_per_ms / 20;
constexpr Nanos gather_max = nanos_per_ms;

// A wake-up so much after its time may leave input unread that a timer would take for silence: a
// part of the shortest time-out.
[[nodiscard]] Nanos late_for(const Config& config) noexcept {
    const std::uint64_t shortest = std::min({config.pong_timeout,
                                             config.ping_interval,
                                             config.handshake_timeout,
                                             config.close_timeout,
                                             config.stall_timeout});
    return std::clamp(static_cast<Nanos>(shortest / 4), late_min, late_max);
}

}  // namespace

Shard::Shard(const Config& config,
             const ShardSetup& setup,
             Mesh& mesh,
             io::MemFile memory,
             std::unique_ptr<io::Reactor> reactor,
             wire::EnvelopeParser parser) noexcept
    : config_(config),
      setup_(setup),
      mesh_(mesh),
      memory_(std::move(memory)),
      reactor_(std::move(reactor)),
      parser_(std::move(parser)),
      capacity_(capacity_for(setup.table_size)),
      tick_zero_(reactor_->now()),
      awaited_(tick_zero_),
      late_(late_for(config)),
      wheel_(0, capacity_ + timer_count),
      sessions_(config_, *reactor_, wheel_, counters_, capacity_),
      pool_({.base = memory_.base(),
             .size = setup.arena_size,
             .punch = &io::MemFile::punch_hole,
             .context = &memory_}),
      access_(config_, setup.hash_seed, topics_),
      auth_(config_, *reactor_, sessions_, counters_),
      pump_(config_, *reactor_, sessions_, topics_, counters_),
      hub_(config_,
           setup.index,
           setup.hash_seed,
           *reactor_,
           mesh,
           sessions_,
           topics_,
           pool_,
           pump_,
           parser_,
           counters_,
           access_,
           setup.storage),
      registry_(config_, setup.index, setup.hash_seed, mesh, sessions_),
      guard_(config_, setup.quotas, *reactor_, sessions_, counters_, capacity_),
      door_(config_,
            reactor_->random(),
            setup.token_key,
            *reactor_,
            sessions_,
            hub_,
            registry_,
            guard_,
            auth_,
            counters_),
      presence_(config_, setup.index, *reactor_, mesh, sessions_, topics_, hub_, door_),
      inquiries_(config_, setup.index, *reactor_, mesh, sessions_, topics_, hub_, presence_),
      dispatch_(config_, *reactor_, sessions_, hub_, inquiries_, door_, parser_, counters_),
      turn_began_(reactor_->present()),
      cpu_looked_(turn_began_),
      cpu_(reactor_->cpu_time()) {
    RC_CHECK(setup.arena_size <= memory_.size());
    wipe(config_.auth_keys);
    reactor_->set_handler(*this);
    mesh_.attach(setup.index, *reactor_);
    hub_.home().sealer().set_salt(setup.seal_salt);
    if (setup.seal_keys != nullptr) hub_.home().sealer().set_keys(*setup.seal_keys);
    arm(sweep_timer, sweep_interval);
    if (config_.dev) begin_feeds();
}

void Shard::begin_feeds() noexcept {
    RC_CHECK(config_.dev);
    if (setup_.index == 0) {
        host_feed_ = std::make_unique<HostFeed>(mesh_.shard_count(), *reactor_, hub_);
        demo_feed_ = std::make_unique<DemoFeed>(*reactor_, hub_);
        arm(demo_timer, demo_feed_interval);
    }
    arm(feed_timer, host_feed_interval);
}

Shard::~Shard() {
    // Only what a test or a failed start left: a shard that ran to its end has no sessions.
    for (io::ConnIndex conn = 0; conn < capacity_ && sessions_.count() > 0; conn++) {
        if (sessions_.find(conn) == nullptr) continue;
        sessions_.abort(conn);
        hub_.forget(conn);
        inquiries_.forget(conn);
        guard_.left(conn);
        sessions_.erase(conn);
    }
}

Tick Shard::tick_now() const noexcept {
    return static_cast<Tick>((reactor_->now() - tick_zero_) / tick_length);
}

void Shard::arm(Timer timer, Nanos after) noexcept {
    wheel_.arm(capacity_ + timer, sessions_.now() + ticks_of(static_cast<std::uint64_t>(after)));
}

void Shard::run() noexcept {
    while (!done()) {
        turn(plan());
    }
}

bool Shard::done() const noexcept {
    return stage_ >= Stage::closing && sessions_.count() == 0;
}

void Shard::turn(Nanos until) noexcept {
    wait(until);
    counters_.turns++;
    // Before the mail, which may use the credit up again: our own clients get their share.
    if (sessions_.anyone_waiting() && !mesh_.out_of_credit(setup_.index)) {
        sessions_.resume_waiting();
    }
    drain_mail();
    if (catching_up_until_ == 0) fire_timers();
    check_stop();
    take_out_leavers();
    sleepless_ = hub_.acks().run() || sleepless_;
    if (ending_sessions_) {
        ending_sessions_ = registry_.sweep([this](const Owed& each) { hub_.acks().miss(each); });
        sleepless_ = sleepless_ || ending_sessions_;
    }
    gather();
    pump_.run();
    sleepless_ = inquiries_.run() || sleepless_;
    take_out_leavers();
    hub_.home().flush();
    sleepless_ = presence_.run() || sleepless_;
    keep_budget();
    if (!hub_.pacer().empty()) wheel_.arm(capacity_ + pace_timer, hub_.pacer().due());
    if (!hub_.acks().empty()) wheel_.arm(capacity_ + acks_timer, hub_.acks().due());
}

Nanos Shard::plan() noexcept {
    // Whoever waits for credit is woken once; if that was in the middle of a turn, it is now.
    const bool resumes = sessions_.anyone_waiting() && !mesh_.out_of_credit(setup_.index);
    const bool at_once = sleepless_ || hub_.home().flush_due() || resumes ||
                         catching_up_until_ != 0 || !pump_.idle() || !sessions_.leaving().empty() ||
                         !mesh_.prepare_sleep(setup_.index);
    sleepless_ = false;
    if (at_once) return 0;
    const Tick due = wheel_.next_due(sessions_.now() + ticks_of(units::s));
    const auto ticks = static_cast<Nanos>(static_cast<std::int32_t>(due - sessions_.now()));
    const Nanos base = tick_zero_ + static_cast<Nanos>(tick_now()) * tick_length;
    return std::min(base + std::max<Nanos>(ticks, 1) * tick_length, pump_.next_due());
}

void Shard::wait(Nanos until) noexcept {
    const Nanos before = reactor_->now();
    awaited_ = std::max(until, before);
    const Nanos late_from = awaited_ + late_;
    const std::uint64_t heard = events_;
    reactor_->wait(until);
    mesh_.awake(setup_.index);
    count_turn(until > before);
    const bool late = reactor_->now() > late_from && !RC_PLANT(12);
    if (late) {
        counters_.late_turns++;
        skip_absence();
    }
    sessions_.set_now(tick_now());
    if (catching_up_until_ != 0) {
        // Everybody was heard out, and has got what waited for him: a client that is closing, whose
        // time was short before we stood still, had its answer before it is cut. On a busy shard
        // that may never be so, and timers have to come all the same.
        const bool done = events_ == heard && pump_.idle();
        if (done || reactor_->now() >= catching_up_until_) catching_up_until_ = 0;
    } else if (late) {
        // Woken long after we meant to be (SIGSTOP, a stalled machine): no timers for now.
        catching_up_until_ = reactor_->now() + catch_up_max;
    }
}

// Nobody's time runs while the shard is not there: a client whose closing handshake takes three
// round trips still has them, and whoever was well just before is not overdue just behind it.
void Shard::skip_absence() noexcept {
    const Nanos now = reactor_->now();
    if (now > awaited_ + late_ && !RC_PLANT(12)) tick_zero_ += now - awaited_;
    awaited_ = std::max(awaited_, now);
}

// A turn, from the end of one wait() to that of the next, is long by the CPU time it took, sleep
// excluded. A thread that is kept off its CPU is slow as well, but by no fault of ours: counted
// apart. The CPU time is looked at so seldom that it costs nothing; so what is held against a turn
// may be too much by one interval.
void Shard::count_turn(bool slept) noexcept {
    const Nanos now = reactor_->present();
    const Nanos took = now - turn_began_;
    turn_began_ = now;
    if (now - cpu_looked_ < cpu_look_interval) return;
    const Nanos cpu = reactor_->cpu_time();
    if (took > long_turn) {
        if (cpu - cpu_ > long_turn) {
            counters_.long_turns++;
        } else if (!slept) {
            counters_.hindered_turns++;
        }
    }
    cpu_looked_ = now;
    cpu_ = cpu;
}

// Before a walk that takes many turns: a burst that is being published right now goes out in slices
// that hold all of it, not in small ones to those who happen to be visited first. Each record that
// comes is waited for, a twentieth of a millisecond and one in all.
void Shard::gather() noexcept {
    if (catching_up_until_ != 0 || !pump_.long_walk_ahead()) return;
    const Nanos end = reactor_->now() + gather_max;
    std::uint64_t before = 0;
    do {
        before = pump_.marked();
        const bool sleeps = mesh_.prepare_sleep(setup_.index);
        wait(sleeps ? std::min(end, reactor_->now() + gather_pause) : 0);
        drain_mail();
        take_out_leavers();
    } while (pump_.marked() != before && reactor_->now() < end);
    sleepless_ = true;  // who woke us here may have meant what this turn has behind it
}

// News and requests have a budget each, so that neither keeps the other waiting for good.
void Shard::drain_mail() noexcept {
    for (const auto take : {&Mesh::take, &Mesh::take_request}) {
        io::Stint stint(*reactor_, mail_time);
        std::uint32_t left = mail_per_turn;
        while (left > 0) {
            const std::unique_ptr<Mail> mail = (mesh_.*take)(setup_.index);
            if (mail == nullptr) break;
            const std::uint32_t work = on_mail(*mail);
            left = stint.over(work) ? 0 : left - 1;
        }
        sleepless_ = sleepless_ || left == 0;
    }
}

void Shard::fire_timers() noexcept {
    struct Firing {
        Shard& shard;
        io::Stint stint;
        bool over = false;
    };
    Firing firing{.shard = *this, .stint = io::Stint(*reactor_, timer_time)};
    wheel_.advance(
        sessions_.now(),
        [](void* context, std::uint32_t id) noexcept {
            auto& [shard, stint, over] = *static_cast<Firing*>(context);
            shard.fire(id);
            over = stint.over();
            if (over) shard.wheel_.hold();
        },
        &firing);
    sleepless_ = sleepless_ || firing.over;
}

std::uint32_t Shard::on_mail(Mail& mail) noexcept {
    switch (mail.kind) {
        case MailKind::publish:
        case MailKind::record:
        case MailKind::interest:
        case MailKind::started:
        case MailKind::watch:
        case MailKind::watched:
        case MailKind::list:
        case MailKind::listed:
        case MailKind::appeared:
        case MailKind::outcome:
        case MailKind::missed:
            return hub_.receive(mail);
        case MailKind::question:
        case MailKind::answer:
            inquiries_.receive(mail);
            break;
        case MailKind::presence:
        case MailKind::presence_update:
            presence_.receive(mail);
            break;
        case MailKind::claim:
        case MailKind::release:
        case MailKind::evict:
        case MailKind::park:
        case MailKind::resume:
            registry_.receive(mail);
            break;
        case MailKind::settling:
        case MailKind::settled:
            on_settled(mail.offset);
            break;
        case MailKind::finished:
            mail.job->done();
            break;
        case MailKind::policy: {
            const bool room =
                pump_.policies().set(mail.name, mail.flag ? SlowPolicy::close : SlowPolicy::gap);
            RC_CHECK(room);  // whoever sent it has seen to that
            break;
        }
        case MailKind::keys:
            auth_.set_keys(mail.name);
            wipe(mail.name);
            break;
        case MailKind::seal_keys:
            hub_.home().sealer().set_keys(*mail.seal_keys);
            break;
        case MailKind::counters:
            if (host_feed_ == nullptr) break;
            host_feed_->set(
                mail.from,
                {.connections = mail.serial, .delivered = mail.offset, .published = mail.epoch});
            break;
    }
    return 1;
}

// A topic's last reader takes its log along, whose pages may have to be punched out: 5 ms for 64
// MiB. So the clock is looked at after each, and whoever is left over has left by on_closed().
void Shard::take_out_leavers() noexcept {
    std::vector<io::ConnIndex>& leaving = sessions_.leaving();
    io::Stint stint(*reactor_, leave_time);
    std::size_t count = 0;
    for (bool over = false; count < leaving.size() && !over; count++) {
        take_out(leaving[count]);
        over = stint.over(io::Stint::units_per_look);
    }
    leaving.erase(leaving.begin(), leaving.begin() + static_cast<std::ptrdiff_t>(count));
}

void Shard::take_out(io::ConnIndex conn) noexcept {
    std::uint8_t& gate = sessions_.gate_of(conn);
    if ((gate & gate::leaving) == 0) return;  // it was closed before its turn came
    gate &= static_cast<std::uint8_t>(~gate::leaving);
    std::vector<Owed> owed = hub_.acks().owed(conn);
    hub_.forget(conn);
    inquiries_.forget(conn);
    dispatch_.forget(conn);
    registry_.release(conn, std::move(owed));
}

// The sleep may have been long, and its first event ends it: what is heard is heard now.
void Shard::note_event() noexcept {
    events_++;
    skip_absence();
    sessions_.set_now(tick_now());
}

void Shard::on_accepted(io::ConnIndex conn, std::uint32_t listener) noexcept {
    note_event();
    counters_.accepted++;
    Session& session = sessions_.create(conn);
    const Pressure pressure = mesh_.budget().pressure();
    session.admitted = pressure < Pressure::refuse && mesh_.admit(setup_.connections_max);
    session.refused = !session.admitted;
    guard_.arrived(conn, listener);
    session.secure = reactor_->secure(conn);
    // A refusal costs memory, too.
    if (stage_ != Stage::serving || pressure == Pressure::cut) sessions_.abort(conn);
}

void Shard::on_received(io::ConnIndex conn, MutBytes bytes) noexcept {
    note_event();
    if (guard_.awaits_header(conn) && !guard_.take_header(conn, bytes)) return;
    dispatch_.receive(conn, bytes);
}

void Shard::on_ended(io::ConnIndex conn, int os_error) noexcept {
    note_event();
    Session& session = sessions_[conn];
    session.peer_closed = true;
    const bool begun = session.state == State::open || session.state == State::closing;
    if (os_error != 0 || !begun) {
        sessions_.abort(conn);
        return;
    }
    session.deaf = true;
    sessions_.wind_up(conn);
}

void Shard::on_writable(io::ConnIndex conn) noexcept {
    note_event();
    std::uint8_t& gate = sessions_.gate_of(conn);
    if (!RC_PLANT(24)) gate &= static_cast<std::uint8_t>(~gate::blocked);
    // It took bytes, so somebody is there.
    sessions_[conn].heard = sessions_.now();
    sessions_.arm(conn);
    sessions_.mark_ready(conn);
}

void Shard::on_connected(io::ConnIndex /*conn*/, int /*os_error*/) noexcept {
    RC_CHECK(false);  // nobody here connects
}

void Shard::on_closed(io::ConnIndex conn) noexcept {
    note_event();
    take_out(conn);
    const bool admitted = sessions_[conn].admitted;
    guard_.left(conn);
    sessions_.erase(conn);
    counters_.closed++;
    if (admitted && !RC_PLANT(23)) mesh_.leave();
}

void Shard::fire(std::uint32_t timer) noexcept {
    if (timer < capacity_) {
        sessions_.on_timer(timer);
        return;
    }
    switch (static_cast<Timer>(timer - capacity_)) {
        case sweep_timer:
            hub_.sweep();
            presence_.tick();
            ending_sessions_ = true;  // in this turn
            reported_ = UINT64_MAX;   // what was given back counts within a second
            arm(sweep_timer, sweep_interval);
            return;
        case pace_timer:
            hub_.pace();
            return;
        case acks_timer:  // the turn sees to it
            return;
        case feed_timer:
            report();
            arm(feed_timer, host_feed_interval);
            return;
        case demo_timer:
            demo_feed_->tick();
            arm(demo_timer, demo_feed_interval);
            return;
        case drain_timer:
            drain_time_is_up();
            return;
        case timer_count:
            break;
    }
    RC_CHECK(false);
}

std::uint64_t Shard::clients_bytes() const noexcept {
    const std::uint64_t lanes =
        std::min<std::uint64_t>(sessions_.subscriptions(), 2 * topics_.count());
    return sessions_.held_bytes() + topics_.held_bytes() + pool_.heap_bytes() + hub_.held_bytes() +
           lanes * lane_bytes + inquiries_.held_bytes() + presence_.held_bytes() +
           registry_.held_bytes();
}

// Behind the pump: who can be sent to has got what is about to be shed.
void Shard::keep_budget() noexcept {
    Budget& budget = mesh_.budget();
    const std::uint64_t clients = clients_bytes();
    const std::uint64_t held = clients + pool_.resident_bytes();
    const std::uint64_t moved = std::max(held, reported_) - std::min(held, reported_);
    const Pressure before = budget.pressure();
    if (moved < report_step && before == Pressure::none) return;
    reported_ = held;
    const Pressure now = budget.report(setup_.index, clients, pool_.resident_bytes());
    if (now > before) mesh_.wake_all();
    tell_pressure(now);
    if (now == Pressure::none) return;
    const std::uint64_t keep = budget.logs_to_keep(setup_.index);
    const std::size_t resident = pool_.resident_bytes();
    if (resident > keep && !RC_PLANT(38)) {
        pool_.shed(keep, shed_per_turn);
        // What is pinned stays: if nothing went there is nothing more to do at once.
        const std::size_t left = pool_.resident_bytes();
        sleepless_ = sleepless_ || (left > keep && left < resident);
    }
    if (now == Pressure::cut && last_cut_ != sessions_.now()) {
        last_cut_ = sessions_.now();  // it looks at everybody, so not in every turn
        sessions_.cut_largest(budget.clients_to_cut(setup_.index));
    }
    budget.report(setup_.index, clients_bytes(), pool_.resident_bytes());
}

void Shard::tell_pressure(Pressure pressure) noexcept {
    Budget& budget = mesh_.budget();
    switch (budget.news(pressure, reactor_->now())) {
        case Budget::News::nothing:
            return;
        case Budget::News::gone:
            setup_.log.say(LogLevel::info, "memory: there is enough again");
            return;
        case Budget::News::rose:
            break;
    }
    const char* what = "history is given up";
    if (pressure == Pressure::refuse) what = "new clients get 503";
    if (pressure == Pressure::cut) what = "who holds most is cut";
    setup_.log.say(pressure == Pressure::shed ? LogLevel::info : LogLevel::warning,
                   "memory: short: " + std::to_string(budget.held() / units::kib) + "KiB of " +
                       std::to_string(budget.room() / units::kib) + "KiB are in use: " + what);
}

// Tells shard 0 what to show.
void Shard::report() noexcept {
    const ShardFigures figures{.connections = sessions_.count(),
                               .delivered = counters_.delivered,
                               .published = counters_.published};
    if (host_feed_ != nullptr) {
        host_feed_->set(setup_.index, figures);
        host_feed_->tick();
        return;
    }
    auto mail = std::make_unique<Mail>();
    mail->kind = MailKind::counters;
    mail->from = setup_.index;
    mail->serial = figures.connections;
    mail->offset = figures.delivered;
    mail->epoch = figures.published;
    mesh_.post(0, std::move(mail));
}

void Shard::request_stop() noexcept {
    stop_.fetch_add(1, std::memory_order_relaxed);
    reactor_->wake();
}

void Shard::check_stop() noexcept {
    const std::uint32_t wanted = stop_.load(std::memory_order_relaxed);
    if (wanted > 0 && stage_ == Stage::serving) {
        reactor_->stop_listening();
        arm(drain_timer, static_cast<Nanos>(config_.drain_timeout - drain_reserve()));
        stage_ = Stage::settling;
        post_settled(0);
    }
    settle_home();
    if (wanted > 1 && stage_ < Stage::cutting) cut_everybody();
    if (stage_ == Stage::closing) close_some();
}

// What is left of the drain time-out for the closing handshakes of those who have not read all.
std::uint64_t Shard::drain_reserve() const noexcept {
    return config_.drain_timeout / 8;
}

void Shard::post_settled(std::uint32_t round) noexcept {
    for (std::uint32_t shard = 0; shard < mesh_.shard_count(); shard++) {
        auto mail = std::make_unique<Mail>();
        mail->kind = round == 0 ? MailKind::settling : MailKind::settled;
        mail->from = setup_.index;
        mail->offset = round;
        mesh_.post(shard, std::move(mail));
    }
}

// Mail of a channel stays in order. So after round 0, a request, from everybody, home has numbered
// all that was published before the stop; after round 1, which is news as records are, these are in
// the logs here, and clients may go.
void Shard::on_settled(std::uint64_t round) noexcept {
    RC_CHECK(round < settled_.size());
    settled_[round]++;
    RC_CHECK(settled_[round] <= mesh_.shard_count());
    if (settled_[round] < mesh_.shard_count()) return;
    if (round == 0) {
        storing_ = true;
        hub_.home().stop_taking();
        settle_home();
    } else {
        stage_ = std::max(stage_, Stage::closing);
    }
}

// What home took in before round 0 was over is news once it is committed, or refused.
void Shard::settle_home() noexcept {
    if (!storing_ || !hub_.home().stored()) return;
    storing_ = false;
    post_settled(1);
}

// A part of the clients each turn: each closes as soon as it has all.
void Shard::close_some() noexcept {
    const io::ConnIndex end = std::min(capacity_, close_next_ + closes_per_turn);
    for (; close_next_ < end; close_next_++) {
        if (sessions_.find(close_next_) != nullptr) sessions_.restart(close_next_);
    }
    if (close_next_ < capacity_) sleepless_ = true;
}

void Shard::drain_time_is_up() noexcept {
    if (stage_ == Stage::late || stage_ == Stage::cutting) {
        cut_everybody();
        return;
    }
    stage_ = Stage::late;
    arm(drain_timer, static_cast<Nanos>(drain_reserve()));
    for (io::ConnIndex conn = 0; conn < capacity_; conn++) {
        if (sessions_.find(conn) != nullptr) pump_.cut_short(conn);
    }
}

void Shard::cut_everybody() noexcept {
    stage_ = Stage::cutting;
    for (io::ConnIndex conn = 0; conn < capacity_; conn++) {
        if (sessions_.find(conn) != nullptr) sessions_.abort(conn);
    }
}

}  // namespace ringcast::node
