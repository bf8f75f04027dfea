// Configurations and the safetensors header as JSON. Which keys there are is listed in config_fields.hpp; reading,
// writing and the check for unknown keys all walk that list. No exception of the JSON library leaves this file.
#include "config_json.hpp"

#include <algorithm>
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

#include "config_fields.hpp"

namespace stoop {
namespace {

using nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // for writing: keys stay as visited

constexpr int kMaxDepth = 16;  // far more than a configuration has; keeps hostile text from nesting without end
constexpr std::string_view kMetadataKey = "__metadata__";

// Written as a name alone, or as an object with "type" and the keys of that type.
template <class T>
concept Named = std::same_as<T, Activation> || std::same_as<T, Loss> || std::same_as<T, Optimizer>;

// ---- reading: `where` is the path of keys, for the message ----

// A string is cut and a container only named: the value may be anything a file holds.
std::string describe(const json& value) {
  if (value.is_string()) return in_quotes(value.get_ref<const std::string&>());
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  return value.dump();
}

[[noreturn]] void refuse(const std::string& where, const json& value, std::string_view expected,
                         std::string_view hint) {
  throw_value_error(where, "got " + describe(value), expected, hint);
}

// Duplicate keys are refused here because the parsed value would silently keep the last one.
json parse(std::string_view text, std::string_view where) {
  std::vector<std::set<std::string>> keys_of_open_objects;
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxDepth) {
      throw_value_error(where, "the JSON text is nested too deeply",
                        "expected at most " + std::to_string(kMaxDepth) + " levels", "check where it comes from");
    }
    if (event == json::parse_event_t::object_start) keys_of_open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) keys_of_open_objects.pop_back();
    if (event == json::parse_event_t::key) {
      const std::string& key = parsed.get_ref<const std::string&>();
      if (!keys_of_open_objects.back().insert(key).second) {
        throw_value_error(where, "the key " + in_quotes(key) + " is there twice", "expected each key once",
                          "remove one of the two");
      }
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    throw_value_error(where, "the text stops being JSON at byte " + std::to_string(error.byte),
                      "expected one JSON object in UTF-8", "check where it comes from");
  } catch (const json::exception&) {
    throw_value_error(where, "the JSON text holds a number that is too large", "expected numbers a float64 can hold",
                      "check where it comes from");
  }
}

void require_object(const json& value, const std::string& where) {
  if (!value.is_object()) refuse(where, value, "expected an object", "write {\"key\": value, ...}");
}

void check_keys(const json& object, const std::string& where, const std::vector<std::string_view>& valid) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(valid.begin(), valid.end(), key) == valid.end()) throw_unknown_name(where, "key", key, valid);
  }
}

const json& at(const json& object, const std::string& where, std::string_view key) {
  const auto found = object.find(key);
  if (found != object.end()) return *found;
  throw_value_error(where, "the key " + in_quotes(key) + " is missing", "expected it to be given", "add it");
}

void read(const json& value, const std::string& where, std::string& out) {
  if (!value.is_string()) refuse(where, value, "expected a string", "write it in double quotes");
  out = value.get<std::string>();
}

void read(const json& value, const std::string& where, bool& out) {
  if (!value.is_boolean()) refuse(where, value, "expected true or false", "write it without quotes");
  out = value.get<bool>();
}

void read(const json& value, const std::string& where, double& out) {
  if (!value.is_number()) refuse(where, value, "expected a number", "write it without quotes, for example 0.001");
  out = value.get<double>();
}

// A real integer: true, 1.0 and "1" are none.
template <std::integral Integer>
void read(const json& value, const std::string& where, Integer& out) {
  if (value.is_number_unsigned() && std::in_range<Integer>(value.get<std::uint64_t>())) {
    out = static_cast<Integer>(value.get<std::uint64_t>());
  } else if (value.is_number_integer() && !value.is_number_unsigned() &&
             std::in_range<Integer>(value.get<std::int64_t>())) {
    out = static_cast<Integer>(value.get<std::int64_t>());
  } else {
    using Limits = std::numeric_limits<Integer>;
    refuse(where, value,
           "expected a whole number from " + std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()),
           "write it without quotes or decimal point");
  }
}

template <Named T>
void read(const json& value, const std::string& where, T& out);
void read(const json& value, const std::string& where, Initializer& out);
void read(const json& value, const std::string& where, Layer& out);
void read(const json& value, const std::string& where, schedules::Per& out);
void read(const json& value, const std::string& where, Precision& out);
void read(const json& value, const std::string& where, OutputKind& out);
void read(const json& value, const std::string& where, ClassNames& out);
void read(const json& value, const std::string& where, LearningRate& out);

template <class T>
void read(const json& value, const std::string& where, std::optional<T>& out) {
  out.reset();
  if (!value.is_null()) read(value, where, out.emplace());
}

template <class T>
void read(const json& value, const std::string& where, std::vector<T>& out) {
  if (!value.is_array()) refuse(where, value, "expected an array", "write [value, ...]");
  out.assign(value.size(), T{});
  for (std::size_t i = 0; i < value.size(); ++i) read(value[i], where + "." + std::to_string(i), out[i]);
}

template <class Object>
void read_fields(const json& value, const std::string& where, Object& out, std::vector<std::string_view> valid) {
  require_object(value, where);
  visit_fields(out, [&](std::string_view key, const auto&, Key) { valid.push_back(key); });
  check_keys(value, where, valid);
  visit_fields(out, [&](std::string_view key, auto& field, Key presence) {
    if (presence == Key::required || value.contains(key)) {
      read(at(value, where, key), where + "." + std::string(key), field);
    }
  });
}

std::string read_type(const json& value, const std::string& where) {
  std::string type;
  read(at(value, where, "type"), where + ".type", type);
  return type;
}

void require_name_or_object(const json& value, const std::string& where) {
  if (value.is_string() || value.is_object()) return;
  refuse(where, value, "expected a name or an object with \"type\"", "write the name in double quotes");
}

template <Named T>
T from_name(std::string_view name, const std::string& where) {
  if constexpr (std::same_as<T, Activation>) return activation_from_name(name, where);
  if constexpr (std::same_as<T, Loss>) return loss_from_name(name, where);
  if constexpr (std::same_as<T, Optimizer>) return optimizer_from_name(name, where);
}

template <Named T>
void read(const json& value, const std::string& where, T& out) {
  require_name_or_object(value, where);
  const bool is_name = value.is_string();
  out = from_name<T>(is_name ? value.get<std::string>() : read_type(value, where), where);
  if (!is_name) std::visit([&](auto& alternative) { read_fields(value, where, alternative, {"type"}); }, out);
}

void read(const json& value, const std::string& where, Initializer& out) {
  require_name_or_object(value, where);
  const bool is_name = value.is_string();
  out.kind = initializer_kind_from_name(is_name ? value.get<std::string>() : read_type(value, where), where);
  if (!is_name) return read_fields(value, where, out, {"type"});
  if (needs_value(out.kind)) {
    const std::string name(name_of(out.kind));
    refuse(where, value, "expected an object, because " + name + " needs a value",
           "write {\"type\": \"" + name + "\", \"value\": 0.1}");
  }
}

void read(const json& value, const std::string& where, schedules::Per& out) {
  std::string name;
  read(value, where, name);
  if (name != "step" && name != "epoch") refuse(where, value, "expected \"step\" or \"epoch\"", "say what t counts");
  out = name == "step" ? schedules::Per::step : schedules::Per::epoch;
}

void read(const json& value, const std::string& where, Precision& out) {
  std::string name;
  read(value, where, name);
  out = precision_from_name(name, where);
}

void read(const json& value, const std::string& where, OutputKind& out) {
  std::string name;
  read(value, where, name);
  out = output_from_name(name, where);
}

void read(const json& value, const std::string& where, ClassNames& out) { read_fields(value, where, out, {}); }

void read(const json& value, const std::string& where, LearningRate& out) {
  if (value.is_number()) {
    out = LearningRate(value.get<double>());
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

void read(const json& value, const std::string& where, Layer& out) {
  require_object(value, where);
  out = layer_from_name(read_type(value, where), where + ".type");
  std::visit([&](auto& layer) { read_fields(value, where, layer, {"type"}); }, out);
}

TensorEntry read_tensor(const json& value, const std::string& where, const std::string& name) {
  require_object(value, where);
  check_keys(value, where, {"dtype", "shape", "data_offsets"});
  TensorEntry entry{.name = name, .dtype = {}, .shape = {}};
  std::vector<Index> offsets;
  read(at(value, where, "dtype"), where + ".dtype", entry.dtype);
  read(at(value, where, "shape"), where + ".shape", entry.shape);
  read(at(value, where, "data_offsets"), where + ".data_offsets", offsets);
  if (offsets.size() != 2) {
    throw_value_error(where + ".data_offsets", "got " + std::to_string(offsets.size()) + " numbers",
                      "expected [begin, end]", "write the file again");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  return entry;
}

TensorHeader read_header(std::string_view text, std::string_view where) {
  const json root = parse(text, where);
  require_object(root, std::string(where));
  TensorHeader header;
  for (const auto& [name, value] : root.items()) {
    const std::string path = std::string(where) + ": " + in_quotes(name);
    if (name != kMetadataKey) {
      header.tensors.push_back(read_tensor(value, path, name));
      continue;
    }
    require_object(value, path);
    for (const auto& [key, entry] : value.items()) read(entry, path + "." + in_quotes(key), header.metadata[key]);
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  return header;
}

// ---- writing ----

std::string dump(const OrderedJson& value, std::string_view where) {
  try {
    return value.dump();
  } catch (const json::exception&) {
    throw_value_error(where, "a name or text is not UTF-8", "expected UTF-8", "encode it as UTF-8");
  }
}

template <class T>
  requires std::is_arithmetic_v<T>
OrderedJson write(const T& value) {
  return value;
}

template <Named T>
OrderedJson write(const T& value);
OrderedJson write(const Initializer& value);
OrderedJson write(const Layer& value);
OrderedJson write(const LearningRate& value);
OrderedJson write(const ClassNames& value);

OrderedJson write(const std::string& value) { return value; }

OrderedJson write(const Precision& value) { return name_of(value); }
OrderedJson write(const OutputKind& value) { return name_of(value); }

OrderedJson write(const schedules::Per& value) { return value == schedules::Per::step ? "step" : "epoch"; }

template <class T>
OrderedJson write(const std::optional<T>& value) {
  return value ? write(*value) : OrderedJson();
}

template <class T>
OrderedJson write(const std::vector<T>& values) {
  OrderedJson out = OrderedJson::array();
  for (const T& value : values) out.push_back(write(value));
  return out;
}

// JSON has no number that is infinite or NaN; the library would write null.
void check_writable(const char* key, double value) {
  if (std::isfinite(value)) return;
  throw_value_error(key, "it is infinite or not a number", "expected a finite number", "give another value");
}

template <class Object>
void write_fields(const Object& object, OrderedJson& out) {
  visit_fields(object, [&](const char* key, const auto& field, Key presence) {
    if constexpr (std::is_same_v<decltype(field), const double&>) {
      check_writable(key, field);
    }
    if constexpr (std::is_same_v<decltype(field), const bool&>) {
      if (presence == Key::if_false && field) return;
    }
    if (presence == Key::unwritten) return;
    out[key] = write(field);
  });
}

template <class Object>
OrderedJson write_typed(std::string_view type, const Object& object) {
  OrderedJson out = OrderedJson::object();
  out["type"] = type;
  write_fields(object, out);
  return out;
}

template <Named T>
OrderedJson write(const T& value) {
  const std::string_view name = name_of(kind_of(value));
  OrderedJson out = std::visit([&](const auto& alternative) { return write_typed(name, alternative); }, value);
  return out.size() > 1 ? out : OrderedJson(name);
}

OrderedJson write(const Initializer& value) {
  const std::string_view name = name_of(value.kind);
  return takes_value(value.kind) ? write_typed(name, value) : OrderedJson(name);
}

// A rate that stays is a number.
OrderedJson write(const LearningRate& value) {
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

OrderedJson write(const ClassNames& value) {
  OrderedJson out = OrderedJson::object();
  write_fields(value, out);
  return out;
}

OrderedJson write(const Layer& value) {
  return std::visit([&](const auto& layer) { return write_typed(name_of(value), layer); }, value);
}

template <class Config>
std::string config_to_json(const Config& config, std::string_view where) {
  OrderedJson out = OrderedJson::object();
  write_fields(config, out);
  return dump(out, where);
}

template <class Config>
Config config_from_json(std::string_view text, const std::string& where) {
  Config config;
  read_fields(parse(text, where), where, config, {});
  return config;
}

}  // namespace

std::string to_json(const ModelConfig& config) { return config_to_json(config, "model"); }
std::string to_json(const TrainerConfig& config) { return config_to_json(config, "trainer"); }

ModelConfig model_config_from_json(std::string_view text) { return config_from_json<ModelConfig>(text, "model"); }
TrainerConfig trainer_config_from_json(std::string_view text) {
  return config_from_json<TrainerConfig>(text, "trainer");
}

Loss loss_from_json(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool is_json = first != std::string_view::npos && (text[first] == '{' || text[first] == '"');
  if (!is_json) return loss_from_name(text);
  Loss loss;
  read(parse(text, "loss"), "loss", loss);
  return loss;
}

std::string to_json(const TensorHeader& header) {
  OrderedJson out = OrderedJson::object();
  if (!header.metadata.empty()) out[kMetadataKey] = header.metadata;
  for (const TensorEntry& entry : header.tensors) {
    if (entry.name == kMetadataKey || out.contains(entry.name)) {
      throw_value_error("safetensors header", "a second entry " + in_quotes(entry.name),
                        "expected each name once, and none to be " + std::string(kMetadataKey), "rename the tensor");
    }
    OrderedJson& tensor = out[entry.name];
    tensor["dtype"] = entry.dtype;
    tensor["shape"] = entry.shape;
    tensor["data_offsets"] = {entry.begin, entry.end};
  }
  return dump(out, "safetensors header");
}

TensorHeader tensor_header_from_json(std::string_view text, std::string_view where) try {
  return read_header(text, where);
} catch (const ValueError& error) {
  throw CheckpointError(error.what());
}

}  // namespace stoop
