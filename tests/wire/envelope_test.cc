#include "wire/envelope.h"
