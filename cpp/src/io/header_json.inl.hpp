// The header of a safetensors file as text, and what readers count for texts. Part of config_json.cpp, whose functions it calls.

// The header is written piece by piece, so that it is in memory once.
std::string to_json(const TensorHeader& header) {
  std::set<std::string_view> names = {kMetadataKey};
  std::string out = "{";
  if (!header.metadata.empty()) out = "{\"" + std::string(kMetadataKey) + "\":" + dump(write(header.metadata), kHeader);
  for (const TensorEntry& entry : header.tensors) {
    if (!names.insert(entry.name).second) {
      throw_value_error(kHeader, "a second entry " + in_quotes(entry.name),
                        "expected each name once, and none to be " + std::string(kMetadataKey), "rename the tensor");
    }
    Json tensor = Json::object();
    tensor.append("dtype", entry.dtype);
    tensor.append("shape", write(entry.shape));
    tensor.append("data_offsets", write(std::vector<Index>{entry.begin, entry.end}));
    if (out.size() > 1) out += ',';
    out += dump(entry.name, kHeader) + ':' + dump(tensor, kHeader);
  }
  return out + '}';
}

std::size_t memory_of_values(std::string_view text) {
  // Python gives every character of a text four bytes where one of them needs them: then the text takes that much twice.
  const bool is_wide =
      std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0xF0; });
  std::size_t memory = is_wide ? 9 * text.size() : 0;
  bool in_text = false, is_escaped = false, in_word = false;
  for (const char c : text) {
    if (in_text) {
      in_text = is_escaped || c != '"';
      is_escaped = !is_escaped && c == '\\';
      continue;
    }
    const bool is_word = std::string_view("{}[]:, \t\r\n\"").find(c) == std::string_view::npos;
    if (is_word && !in_word) memory += JsonCosts::kValue;
    if (c == '"') memory += JsonCosts::kValue + JsonCosts::kText;
    if (c == ':') memory += JsonCosts::kMember - JsonCosts::kValue - JsonCosts::kText;
    if (c == '[') memory += JsonCosts::kValue + JsonCosts::kArray;
    if (c == '{') memory += JsonCosts::kValue + JsonCosts::kObject;
    in_word = is_word;
    in_text = c == '"';
  }
  return memory;
}

TensorHeader tensor_header_from_json(ReadBytes bytes, const std::string& where, std::size_t memory) try {
  return read_header(std::move(bytes), where, memory);
} catch (const ValueError& error) {
  throw CheckpointError(error.what());
}

TensorHeader tensor_header_from_json(std::string_view text, const std::string& where,
                                     std::optional<std::size_t> memory) {
  return tensor_header_from_json(bytes_of(text), where, memory.value_or(memory_of(text)));
}
