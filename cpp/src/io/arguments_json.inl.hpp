// Reads what Python's Model, Trainer and Trainer.fit take. Part of config_json.cpp, whose functions it calls.

namespace {

// Returns the seconds that a text such as "1h30m" means, or nothing if it means none.
std::optional<double> seconds_of(std::string_view text) {
  const auto skip_blanks = [&text] { text.remove_prefix(std::min(text.find_first_not_of(" \t\n"), text.size())); };
  double sum = 0.0;
  bool is_empty = true;
  for (skip_blanks(); !text.empty(); skip_blanks()) {
    double number = 0.0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (error != std::errc() || text.front() == '-') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    skip_blanks();
    constexpr std::string_view units = "dhms";
    constexpr double seconds[] = {86400.0, 3600.0, 60.0, 1.0};
    const std::size_t unit = text.empty() ? units.npos : units.find(text.front());
    if (unit == units.npos) return std::nullopt;
    sum += number * seconds[unit];
    text.remove_prefix(1);
    is_empty = false;
  }
  return is_empty ? std::nullopt : std::optional(sum);
}

void read(const Json& value, const std::string& where, Seconds& out) {
  const std::optional<double> seconds = value.is_number() ? value.number()
                                        : value.is_text() ? seconds_of(value.text())
                                                          : std::nullopt;
  if (!seconds || !(*seconds >= 0.0)) {
    refuse(where, value, "expected a time of at least 0", "write seconds, or text such as \"1h30m\"");
  }
  out.value = *seconds;
}

// Names of classes as Python takes them, [2, 3] or ["a", "b"], become what files hold: text, with the type it has in Python.
void name_classes(Json& classes) {
  if (!classes.is_array() || classes.elements().empty()) return;
  const auto all = [&](auto is) { return std::all_of(classes.elements().begin(), classes.elements().end(), is); };
  const char* dtype = "str";
  if (all([](const Json& name) { return name.is_boolean(); })) dtype = "bool";
  if (all([](const Json& name) { return name.is_integer(); })) dtype = "int64";
  Json names = Json::array();
  for (const Json& name : classes.elements()) {
    if (name.is_boolean()) names.append(name.boolean() ? "True" : "False");
    if (name.is_integer()) names.append(describe(name));
  }
  if (dtype == std::string_view("str")) names = std::move(classes);  // what is no text is refused
  classes = Json::object();
  classes.append("dtype", dtype);
  classes.append("names", std::move(names));
}

}  // namespace

ModelConfig model_arguments_from_json(std::string_view text) {
  const std::string where = "model";
  Json value = parse(text, where);
  require_object(value, where);
  if (Json* classes = value.find("classes"); classes != nullptr) name_classes(*classes);
  ModelArguments arguments;
  read_fields(value, where, arguments, {});
  if (arguments.dtype != "float32") {
    throw_value_error("model.dtype", "got " + in_quotes(arguments.dtype),
                      "expected \"float32\", the type of the C interface", "leave it out, or use C++ or Python");
  }
  return std::move(arguments.config);
}

TrainerArguments trainer_arguments_from_json(std::string_view text) {
  const std::string where = "trainer";
  Json value = parse(text, where);
  require_object(value, where);
  Json* threads = value.find("num_threads");
  if (threads != nullptr && threads->is_number() && threads->number() == 0.0) {  // C++ writes 0 where the work decides
    throw_value_error("trainer.num_threads", "got 0", "expected 1 to " + std::to_string(kMostThreads),
                      "leave it out to let the work decide");
  }
  if (threads != nullptr && threads->is_null()) *threads = 0;  // null is Python's None: chosen by the library
  TrainerArguments arguments;
  read_fields(value, where, arguments, {});
  return arguments;
}

FitArguments fit_arguments_from_json(std::string_view text) { return config_from_json<FitArguments>(text, "fit"); }
