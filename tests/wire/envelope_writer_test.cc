#include "wire/envelope_writer.h"
