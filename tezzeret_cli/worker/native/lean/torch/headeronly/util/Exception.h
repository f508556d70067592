// Nothing: what it defines is used in macros that lean wrappers do not call.
#pragma once
