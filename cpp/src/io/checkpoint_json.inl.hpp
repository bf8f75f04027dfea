// What a checkpoint says beside its tensors. Part of config_json.cpp, whose functions it calls.

std::string to_json(const CheckpointInfo& info) { return config_to_json(info, "checkpoint"); }

CheckpointInfo checkpoint_info_from_json(std::string_view text, std::size_t* memory_left) {
  const std::string where = "checkpoint";
  const Json value = parse(text, where, memory_left);
  require_object(value, where);
  CheckpointInfo info;
  const Index known = info.version;
  read(at(value, where, "version"), where + ".version", info.version);
  if (info.version > known) {
    std::string library;
    read(at(value, where, "library"), where + ".library", library);
    throw_value_error(where, "it has version " + std::to_string(info.version) + ", written by Stoop " + library,
                      "expected at most version " + std::to_string(known),
                      "install that version of Stoop, or a later one");
  }
  read_fields(value, where, info, {});
  return info;
}

std::string first_difference(const TrainerConfig& one, const TrainerConfig& other) {
  const Json left = write(one), right = write(other);
  for (const auto& [key, value] : left.members()) {
    const std::string text = dump(value, "trainer"), other_text = dump(at(right, "trainer", key), "trainer");
    if (text != other_text) return key + ": " + text + ", " + other_text;
  }
  return {};
}
