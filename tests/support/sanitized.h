#pragma once

// Whether this build is watched by the address sanitizer, as gcc and as clang say it.

#if defined(__SANITIZE_ADDRESS__)
    #define RC_TEST_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
    #if __has_feature(address_sanitizer)
        #define RC_TEST_ADDRESS_SANITIZER 1
    #endif
#endif
#ifndef RC_TEST_ADDRESS_SANITIZER
    #define RC_TEST_ADDRESS_SANITIZER 0
#endif
