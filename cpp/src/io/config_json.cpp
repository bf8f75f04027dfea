// Reads and writes configurations and the safetensors header as JSON. config_fields.hpp lists the keys; reading, writing and
// the check for unknown keys all walk that list. No exception of the JSON library leaves this file.
#include "config_json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <optional>
#include <set>
#include <type_traits>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include <stoop/error.hpp>
#include <stoop/runtime.hpp>

#include "../spec/fields.hpp"
#include "arguments.hpp"
#include "config_fields.hpp"
#include "json_text.hpp"
#include "json_values.inl.hpp"

namespace stoop::inline v0_1 {
namespace {

static_assert(kMostNestedResiduals == 6);  // see below

// Layers with their keys take less than eight times the size of their text; kMostLayers activations, which are short, take what is
// added. A file says how much memory its texts may take.
std::size_t memory_of(std::string_view text) { return (std::size_t{1} << 26) + 8 * text.size(); }

constexpr std::string_view kHeader = "safetensors header";

// Things that are written as a name alone, or as an object with "type" and the keys of that type.
template <class T>
concept Named =
    std::same_as<T, Activation> || std::same_as<T, Initializer> || std::same_as<T, Loss> || std::same_as<T, Optimizer>;

// Things that are written as an object with the keys of visit_fields.
template <class T>
concept Record = std::same_as<T, ClassNames> || std::same_as<T, TrainerConfig> || std::same_as<T, EpochPlace> ||
                 std::same_as<T, FitRecord> || std::same_as<T, History>;

// ---- reading: `where` is the path of keys, for the message ----

Json parse(std::string_view text, std::string_view where, std::size_t* memory_left = nullptr) {
  TreeBuilder builder(where, {.depth = 64,
                              .memory = memory_left == nullptr ? memory_of(text) : *memory_left,
                              .when_deep = "Residual may be nested up to 6 deep, each takes two levels"});
  read_json(bytes_of(text), where, builder);
  if (memory_left != nullptr) *memory_left -= builder.memory();
  return std::move(builder.root());
}

template <Named T>
void read(const Json& value, const std::string& where, T& out);
void read(const Json& value, const std::string& where, Layer& out);
template <Choice T>
void read(const Json& value, const std::string& where, T& out);
void read(const Json& value, const std::string& where, Precision& out);
void read(const Json& value, const std::string& where, LastBatch& out);
template <Record T>
void read(const Json& value, const std::string& where, T& out);
void read(const Json& value, const std::string& where, LearningRate& out);
void read(const Json& value, const std::string& where, Seconds& out);

template <class T>
void read(const Json& value, const std::string& where, std::optional<T>& out) {
  out.reset();
  if (!value.is_null()) read(value, where, out.emplace());
}

template <class T>
void read(const Json& value, const std::string& where, std::vector<T>& out) {
  if (!value.is_array()) refuse(where, value, "expected an array", "write [value, ...]");
  const Json::Array& elements = value.elements();
  if (std::same_as<T, Layer> && elements.size() > static_cast<std::size_t>(kMostLayers)) {
    throw_value_error(where, std::to_string(elements.size()) + " layers",
                      "expected at most " + std::to_string(kMostLayers), "make fewer, wider layers");
  }
  out.assign(elements.size(), T{});
  for (std::size_t i = 0; i < elements.size(); ++i) read(elements[i], where + "." + std::to_string(i), out[i]);
}

// A history holds NaN where nothing was measured, which JSON has no number for.
void read(const Json& value, const std::string& where, std::vector<double>& out) {
  if (!value.is_array()) refuse(where, value, "expected an array", "write [value, ...]");
  const Json::Array& elements = value.elements();
  out.assign(elements.size(), 0.0);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const std::string_view text = elements[i].is_text() ? elements[i].text() : std::string_view();
    const bool is_named = text == "nan" || text == "inf" || text == "-inf";
    if (is_named) out[i] = std::stod(elements[i].text());
    if (!is_named) read(elements[i], where + "." + std::to_string(i), out[i]);
  }
}

template <class Object>
void read_fields(const Json& value, const std::string& where, Object& out, std::vector<std::string_view> valid) {
  require_object(value, where);
  visit_fields(out, [&](std::string_view key, const auto&, auto...) { valid.push_back(key); });
  check_keys(value, where, valid);
  visit_fields(out, [&](std::string_view key, auto& field, bool is_required, bool = true) {
    if (is_required || value.find(key) != nullptr) {
      read(at(value, where, key), where + "." + std::string(key), field);
    }
  });
}

std::string read_type(const Json& value, const std::string& where) {
  std::string type;
  read(at(value, where, "type"), where + ".type", type);
  return type;
}

void require_name_or_object(const Json& value, const std::string& where) {
  if (value.is_text() || value.is_object()) return;
  refuse(where, value, "expected a name or an object with \"type\"", "write the name in double quotes");
}

template <Named T>
T from_name(std::string_view name, const std::string& where) {
  if constexpr (std::same_as<T, Activation>) return activation_from_name(name, where);
  if constexpr (std::same_as<T, Initializer>) return initializer_from_name(name, where);
  if constexpr (std::same_as<T, Loss>) return loss_from_name(name, where);
  if constexpr (std::same_as<T, Optimizer>) return optimizer_from_name(name, where);
}

template <Named T>
void read(const Json& value, const std::string& where, T& out) {
  require_name_or_object(value, where);
  const bool is_name = value.is_text();
  out = from_name<T>(is_name ? value.text() : read_type(value, where), where);
  const auto read_rest = [&]<class Op>(Op& op) {
    if (!is_name) return read_fields(value, where, op, {"type"});
    for_each_field<Op>([&](const auto& field) {
      if (field.presence != Key::required) return;
      const std::string name(Spec<Op>::kName), key(field.key);
      refuse(where, value, "expected an object, because " + name + " needs a " + key,
             "write {\"type\": \"" + name + "\", \"" + key + "\": 0.1}");
    });
  };
  std::visit(read_rest, out);
}

template <Choice T>
void read(const Json& value, const std::string& where, T& out) {
  std::string name;
  read(value, where, name);
  out = choice_named<T>(name, where);
}

void read(const Json& value, const std::string& where, Precision& out) {
  std::string name;
  read(value, where, name);
  out = precision_from_name(name, where);
}

void read(const Json& value, const std::string& where, LastBatch& out) {
  std::string name;
  read(value, where, name);
  out = last_batch_from_name(name, where);
}

template <Record T>
void read(const Json& value, const std::string& where, T& out) {
  read_fields(value, where, out, {});
}

void read(const Json& value, const std::string& where, LearningRate& out) {
  if (value.is_number()) {
    out = LearningRate(value.number());
    return;
  }
  if (!value.is_object()) {
    refuse(where, value, "expected a number or an object with \"type\"", "write it without quotes, for example 0.001");
  }
  schedules::Schedule schedule = schedules::schedule_from_name(read_type(value, where), where);
  std::visit(
      [&](auto& alternative) {
        read_fields(value, where, alternative, {"type"});
        out = alternative;
      },
      schedule);
}

void read(const Json& value, const std::string& where, Layer& out) {
  require_object(value, where);
  out = layer_from_name(read_type(value, where), where + ".type");
  std::visit([&](auto& layer) { read_fields(value, where, layer, {"type"}); }, out);
}

#include "tensor_header.inl.hpp"

// ---- writing ----

template <class T>
  requires std::is_arithmetic_v<T>
Json write(const T& value) {
  return value;
}

template <Choice T>
Json write(const T& value) {
  return name_of_choice(value);
}

template <Named T>
Json write(const T& value);
Json write(const Layer& value);
Json write(const LearningRate& value);
template <Record T>
Json write(const T& value);

Json write(const std::string& value) { return value; }

Json write(const Metadata& value) {
  Json out = Json::object();
  for (const auto& [name, text] : value) out.append(name, text);
  return out;
}

Json write(const Precision& value) { return name_of(value); }
Json write(const LastBatch& value) { return name_of(value); }

template <class T>
Json write(const std::optional<T>& value) {
  return value ? write(*value) : Json();
}

template <class T>
Json write(const std::vector<T>& values) {
  Json out = Json::array();
  for (const T& value : values) out.append(write(value));
  return out;
}

Json write(const std::vector<double>& values) {
  Json out = Json::array();
  for (const double value : values) {
    if (std::isfinite(value)) out.append(value);
    if (std::isnan(value)) out.append("nan");
    if (std::isinf(value)) out.append(value > 0.0 ? "inf" : "-inf");
  }
  return out;
}

// JSON has no infinite numbers and no NaN; the library would write null.
void check_writable(const char* key, double value) {
  if (std::isfinite(value)) return;
  throw_value_error(key, "it is infinite or not a number", "expected a finite number", "give another value");
}

template <class Object>
void write_fields(const Object& object, Json& out) {
  visit_fields(object, [&](const char* key, const auto& field, bool, bool is_written = true) {
    if (!is_written) return;
    if constexpr (std::is_same_v<decltype(field), const double&>) check_writable(key, field);
    out.append(key, write(field));
  });
}

template <class Object>
Json write_typed(std::string_view type, const Object& object) {
  Json out = Json::object();
  out.append("type", type);
  write_fields(object, out);
  return out;
}

template <Named T>
Json write(const T& value) {
  Json out = std::visit([]<class Op>(const Op& op) { return write_typed(Spec<Op>::kName, op); }, value);
  return out.members().size() > 1 ? std::move(out) : Json(out.find("type")->text());
}

// A constant rate is written as a number.
Json write(const LearningRate& value) {
  const schedules::Schedule& schedule = value.held().schedule;
  if (const auto* constant = std::get_if<schedules::Constant>(&schedule)) {
    check_writable("learning_rate", constant->lr);
    return constant->lr;
  }
  if (std::holds_alternative<schedules::Custom>(schedule)) {
    throw_value_error("learning_rate", "it is a function, which no file can hold", "expected a number or a schedule",
                      "give one of stoop.schedules, or do not save it");
  }
  const std::string_view name = schedules::name_of(schedule);
  return std::visit([&](const auto& alternative) { return write_typed(name, alternative); }, schedule);
}

template <Record T>
Json write(const T& value) {
  Json out = Json::object();
  write_fields(value, out);
  return out;
}

Json write(const Layer& value) {
  return std::visit([]<class Op>(const Op& layer) { return write_typed(Spec<Op>::kName, layer); }, value);
}

// Layers are written one by one, since the values of all of them take several times the memory of their text.
void append_text(std::string& out, const std::vector<Layer>& layers, std::string_view where) {
  const char* comma = "[";
  for (const Layer& layer : layers) out.append(std::exchange(comma, ",")).append(dump(write(layer), where));
  out += layers.empty() ? "[]" : "]";
}

template <class T>
void append_text(std::string& out, const T& value, std::string_view where) {
  out += dump(write(value), where);
}

template <class Config>
std::string config_to_json(const Config& config, std::string_view where) {
  std::string out;
  visit_fields(config, [&](const char* key, const auto& field, bool, bool is_written = true) {
    if (!is_written) return;
    if constexpr (std::is_same_v<decltype(field), const double&>) check_writable(key, field);
    out.append(out.empty() ? "{\"" : ",\"").append(key).append("\":");
    append_text(out, field, where);
  });
  return out + '}';
}

template <class Config>
Config config_from_json(std::string_view text, const std::string& where, std::size_t* memory_left = nullptr) {
  Config config;
  read_fields(parse(text, where, memory_left), where, config, {});
  return config;
}

void place_functions(Optimizer& optimizer, const RateFunctions& functions) {
  std::span<const std::optional<schedules::Custom>> left = functions;
  set_learning_rate(optimizer, with_functions(schedule_of(optimizer), left));
}

}  // namespace

std::string to_json(const ModelConfig& config) { return config_to_json(config, "model"); }
std::string to_json(const TrainerConfig& config) { return config_to_json(config, "trainer"); }

std::string layer_to_json(const Layer& layer) {
  const auto* block = std::get_if<Residual>(&layer);
  if (block == nullptr) return dump(write(layer), "layer");
  return dump(write(Layer(Residual{{}, block->trainable, block->lr_scale, block->decay_scale})), "layer");
}

ModelConfig model_config_from_json(std::string_view text, std::size_t* memory_left) {
  return config_from_json<ModelConfig>(text, "model", memory_left);
}

TrainerConfig trainer_config_from_json(std::string_view text, const RateFunctions& functions) {
  TrainerConfig config = config_from_json<TrainerConfig>(text, "trainer");
  place_functions(config.optimizer, functions);
  return config;
}

#include "arguments_json.inl.hpp"
#include "checkpoint_json.inl.hpp"

Optimizer optimizer_from_json(std::string_view text, const RateFunctions& functions) {
  Optimizer optimizer;
  read(parse(text, "optimizer"), "optimizer", optimizer);
  place_functions(optimizer, functions);
  return optimizer;
}

std::optional<std::string> learning_rate_to_json(const Optimizer& optimizer) {
  if (schedules::has_functions(schedule_of(optimizer))) return std::nullopt;
  return dump(write(schedule_of(optimizer)), "learning_rate");
}

LearningRate learning_rate_from_json(std::string_view text, const RateFunctions& functions) {
  LearningRate rate = 0.0;
  read(parse(text, "learning_rate"), "learning_rate", rate);
  std::span<const std::optional<schedules::Custom>> left = functions;
  return with_functions(rate, left);
}

Loss loss_from_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && (text[first] == '{' || text[first] == '"');
  if (!is_json) return loss_from_name(text);
  Loss loss;
  read(parse(text, "loss"), "loss", loss);
  return loss;
}

#include "header_json.inl.hpp"

}  // namespace stoop
